// A device plugin that offers GPUs which are not there, through the kubelet's real interface: what schedules, allocates,
// limits and loses them is Kubernetes' own. It is for laboratories; nothing can be computed on its devices.
//
//	gpu-stand-in serve --devices 2        offers gpu-0 and gpu-1 of nvidia.com/gpu until it is stopped
//	    --node w1                         as many as the node's label dtf.cluster/stand-in-cards says, if it does
//	    --configs FOLDER --config NAME    shared as NVIDIA's plugin would by a configuration, or by the one that the
//	                                      node's label nvidia.com/device-plugin.config names
//	gpu-stand-in set gpu-1 unhealthy      says so to the kubelet from now on; also healthy, and gone
//	gpu-stand-in show                     prints each device and how it is
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
)

var version = "unknown"

const (
	healthy   = "healthy"
	unhealthy = "unhealthy"
	gone      = "gone"
)

var states = []string{healthy, unhealthy, gone}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gpu-stand-in:", err)
		os.Exit(1)
	}
}

func run(words []string) error {
	if len(words) == 0 {
		return errors.New("a command is missing; accepted: serve, set DEVICE STATE, show, version")
	}
	switch command, rest := words[0], words[1:]; command {
	case "serve":
		return serve(rest)
	case "set":
		if len(rest) != 2 || !slices.Contains(states, rest[1]) {
			return fmt.Errorf("set %q; accepted: set DEVICE and one of %q", rest, states)
		}
		return board{stateFile()}.set(rest[0], rest[1])
	case "show":
		return show(os.Stdout, board{stateFile()})
	case "version":
		fmt.Println("gpu-stand-in", version)
		return nil
	default:
		return fmt.Errorf("command %q; accepted: serve, set, show, version", command)
	}
}

func serve(words []string) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	resource := flags.String("resource", "nvidia.com/gpu", "name of the resource")
	count := flags.Int("devices", 1, "how many there are, unless the node says otherwise")
	node := flags.String("node", "", "name of the node, whose labels are heeded")
	configs := flags.String("configs", "", "folder of configurations of NVIDIA's plugin, of which only sharing is heeded")
	config := flags.String("config", "", "name of the configuration, unless the node chooses one")
	sockets := flags.String("sockets", "/var/lib/kubelet/device-plugins", "the kubelet's folder for device plugins")
	if err := flags.Parse(words); err != nil {
		return err
	}
	asked := asked{terms{*resource, *count}, *node, *configs, *config}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	for {
		terms, said, err := asked.now()
		if err != nil {
			return err
		}
		devices := board{stateFile()}
		if err := devices.begin(terms.devices); err != nil {
			return err
		}
		offer := offer{
			resource: terms.resource, devices: devices, folder: *sockets,
			socket: filepath.Join(*sockets, "gpu-stand-in.sock"),
		}
		done := make(chan struct{})
		again, err := offer.until(stop, asked.another(said, done))
		close(done)
		if !again || err != nil {
			return err
		}
	}
}

// stateFile is where the devices' states are; another process of the same container changes them there.
func stateFile() string {
	if path := os.Getenv("GPU_STAND_IN_STATE"); path != "" {
		return path
	}
	return "/run/gpu-stand-in/devices"
}
