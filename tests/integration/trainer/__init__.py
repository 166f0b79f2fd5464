"""The trainer as a user starts it: real processes on the loopback interface."""
