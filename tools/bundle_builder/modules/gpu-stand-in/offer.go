package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// How often the board and the sockets are looked at.
const pause = 200 * time.Millisecond

// offer is what the kubelet talks to.
type offer struct {
	api.UnimplementedDevicePluginServer
	resource string
	devices  board
	folder   string
	socket   string
}

// until offers the devices until it is told to stop, or that there is another offer to be made. A kubelet that starts
// anew empties the folder of the sockets, and everybody who was there has to come again.
func (o *offer) until(stop <-chan os.Signal, another <-chan struct{}) (again bool, err error) {
	for {
		server, err := o.listen()
		if err != nil {
			return false, err
		}
		err = o.register()
		tell(map[string]any{"event": "registered", "resource": o.resource, "error": text(err)})
		for err == nil && exists(o.socket) {
			select {
			case <-stop:
				server.Stop()
				return false, nil
			case <-another:
				server.Stop()
				return true, nil
			case <-time.After(pause):
			}
		}
		server.Stop()
		select {
		case <-stop:
			return false, nil
		case <-another:
			return true, nil
		case <-time.After(time.Second):
		}
	}
}

func (o *offer) listen() (*grpc.Server, error) {
	_ = os.Remove(o.socket)
	listener, err := net.Listen("unix", o.socket)
	if err != nil {
		return nil, err
	}
	server := grpc.NewServer()
	api.RegisterDevicePluginServer(server, o)
	go func() { _ = server.Serve(listener) }()
	return server, nil
}

func (o *offer) register() error {
	kubelet := "unix://" + filepath.Join(o.folder, filepath.Base(api.KubeletSocket))
	connection, err := grpc.NewClient(kubelet, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	patience, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err = api.NewRegistrationClient(connection).Register(patience, &api.RegisterRequest{
		Version: api.Version, Endpoint: filepath.Base(o.socket), ResourceName: o.resource,
	})
	return err
}

// GetDevicePluginOptions says that nothing is asked for beside the allocation itself.
func (o *offer) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

// ListAndWatch tells the devices, and again whenever one of them is another.
func (o *offer) ListAndWatch(_ *api.Empty, stream grpc.ServerStreamingServer[api.ListAndWatchResponse]) error {
	var told []device
	for first := true; ; first = false {
		devices, err := o.devices.read()
		if err != nil {
			return err
		}
		if first || !slices.Equal(devices, told) {
			if err := stream.Send(&api.ListAndWatchResponse{Devices: listed(devices)}); err != nil {
				return err
			}
			told = devices
			tell(map[string]any{"event": "listed", "devices": words(devices)})
		}
		select {
		case <-stream.Context().Done():
			return nil
		case <-time.After(pause):
		}
	}
}

func listed(devices []device) []*api.Device {
	found := []*api.Device{}
	for _, known := range devices {
		if known.state == gone {
			continue
		}
		health := api.Healthy
		if known.state != healthy {
			health = api.Unhealthy
		}
		found = append(found, &api.Device{ID: known.name, Health: health})
	}
	return found
}

// Allocate hands devices to a container as NVIDIA's own plugin does, by a variable; what stands for /dev/nvidia0 is
// /dev/null. A device that is not healthy is refused, with words that the pod's events repeat.
func (o *offer) Allocate(_ context.Context, request *api.AllocateRequest) (*api.AllocateResponse, error) {
	devices, err := o.devices.read()
	if err != nil {
		return nil, err
	}
	answer := &api.AllocateResponse{}
	for _, container := range request.ContainerRequests {
		given := &api.ContainerAllocateResponse{Envs: map[string]string{
			"NVIDIA_VISIBLE_DEVICES": strings.Join(container.DevicesIds, ","),
		}}
		for number, name := range container.DevicesIds {
			if !slices.Contains(devices, device{name, healthy}) {
				return nil, status.Errorf(codes.FailedPrecondition, "device %s is not healthy", name)
			}
			given.Devices = append(given.Devices, &api.DeviceSpec{
				ContainerPath: fmt.Sprintf("/dev/nvidia%d", number), HostPath: "/dev/null", Permissions: "rw",
			})
		}
		answer.ContainerResponses = append(answer.ContainerResponses, given)
		tell(map[string]any{"event": "allocated", "devices": container.DevicesIds})
	}
	return answer, nil
}

func words(devices []device) []string {
	found := []string{}
	for _, known := range devices {
		found = append(found, known.name+" "+known.state)
	}
	return found
}

// tell prints a line for programs.
func tell(event map[string]any) {
	line, _ := json.Marshal(event)
	fmt.Println(string(line))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
