package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// board is a file with a line for each device: its name and how it is.
type board struct{ path string }

// device is one line of a board.
type device struct{ name, state string }

// begin writes devices down that are all healthy; what an earlier process was told is forgotten, as a restart would do.
func (b board) begin(count int) error {
	if err := os.MkdirAll(filepath.Dir(b.path), 0o755); err != nil {
		return err
	}
	devices := make([]device, count)
	for number := range devices {
		devices[number] = device{fmt.Sprintf("gpu-%d", number), healthy}
	}
	return b.write(devices)
}

// read returns the devices in their order.
func (b board) read() ([]device, error) {
	text, err := os.ReadFile(b.path)
	if err != nil {
		return nil, err
	}
	var devices []device
	for line := range strings.Lines(string(text)) {
		name, state, _ := strings.Cut(strings.TrimSpace(line), " ")
		devices = append(devices, device{name, state})
	}
	return devices, nil
}

// set writes down how one device is from now on.
func (b board) set(name, state string) error {
	devices, err := b.read()
	if err != nil {
		return err
	}
	for number, known := range devices {
		if known.name == name {
			devices[number].state = state
			return b.write(devices)
		}
	}
	return fmt.Errorf("there is no device %q", name)
}

// write replaces the file in one step: who reads it meanwhile sees the old one or the new one.
func (b board) write(devices []device) error {
	var text strings.Builder
	for _, known := range devices {
		fmt.Fprintln(&text, known.name, known.state)
	}
	next := b.path + ".next"
	if err := os.WriteFile(next, []byte(text.String()), 0o644); err != nil {
		return err
	}
	return os.Rename(next, b.path)
}

func show(out io.Writer, b board) error {
	devices, err := b.read()
	for _, known := range devices {
		fmt.Fprintln(out, known.name, known.state)
	}
	return err
}
