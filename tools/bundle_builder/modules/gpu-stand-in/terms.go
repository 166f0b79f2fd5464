package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

const (
	// How often a node is asked.
	askEvery = 2 * time.Second
	most     = 64

	cardsWord  = "dtf.cluster/stand-in-cards"
	configWord = "nvidia.com/device-plugin.config"
	account    = "/var/run/secrets/kubernetes.io/serviceaccount"
)

// What is heeded of a configuration of NVIDIA's plugin, be it YAML or JSON.
var (
	replicasWord = regexp.MustCompile(`\breplicas["']?\s*:\s*(\d+)`)
	renameWord   = regexp.MustCompile(`\brenameByDefault["']?\s*:\s*true`)
)

// terms is what is offered.
type terms struct {
	resource string
	devices  int
}

// asked is what the command line says. The node's labels and annotations are heeded over it.
type asked struct {
	terms
	node    string // which is asked; empty for none
	configs string // folder of configurations
	usual   string // configuration of a node that chooses none
}

// now returns what is to be offered, and which words of the node's that follows from.
func (a asked) now() (found terms, said string, err error) {
	found, config := a.terms, a.usual
	if a.node != "" {
		words, err := wordsOf(a.node)
		if err != nil {
			return found, "", err
		}
		said = heeded(words)
		if text, given := words[cardsWord]; given {
			if found.devices, err = strconv.Atoi(text); err != nil {
				return found, said, fmt.Errorf("%s of node %s: %q; accepted: a number", cardsWord, a.node, text)
			}
		}
		if words[configWord] != "" {
			config = words[configWord]
		}
	}
	if found.devices < 0 || found.devices > most {
		return found, said, fmt.Errorf("%d devices; accepted: 0 to %d", found.devices, most)
	}
	if a.configs == "" || config == "" {
		return found, said, nil
	}
	text, err := os.ReadFile(filepath.Join(a.configs, config))
	if err != nil {
		return found, said, err
	}
	found, err = found.shared(string(text))
	return found, said, err
}

func heeded(words map[string]string) string { return words[cardsWord] + " " + words[configWord] }

// shared returns what a configuration makes of them.
func (t terms) shared(config string) (terms, error) {
	words := replicasWord.FindStringSubmatch(config)
	if words == nil {
		return t, nil
	}
	replicas, err := strconv.Atoi(words[1])
	if err != nil || replicas < 1 || replicas > most {
		return t, fmt.Errorf("replicas %s; accepted: 1 to %d", words[1], most)
	}
	t.devices *= replicas
	if renameWord.MatchString(config) {
		t.resource += ".shared"
	}
	return t, nil
}

// another returns a channel that is closed as soon as the node says something else. A configuration is read when it is
// chosen and not again: neither does NVIDIA's plugin learn of a change in its file.
func (a asked) another(said string, done <-chan struct{}) <-chan struct{} {
	other := make(chan struct{})
	if a.node == "" {
		return other
	}
	go func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(askEvery):
			}
			if words, err := wordsOf(a.node); err == nil && heeded(words) != said {
				close(other)
				return
			}
		}
	}()
	return other
}

// wordsOf returns a node's labels and annotations, as a pod's account is told them.
func wordsOf(node string) (map[string]string, error) {
	token, err := os.ReadFile(filepath.Join(account, "token"))
	if err != nil {
		return nil, err
	}
	authorities, err := os.ReadFile(filepath.Join(account, "ca.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authorities)
	client := http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true},
	}
	server := net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
	request, err := http.NewRequest(http.MethodGet, "https://"+server+"/api/v1/nodes/"+node, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+string(token))
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("node %s: %s", node, answer.Status)
	}
	var read struct {
		Metadata struct{ Labels, Annotations map[string]string }
	}
	if err := json.NewDecoder(answer.Body).Decode(&read); err != nil {
		return nil, err
	}
	words := map[string]string{}
	for _, of := range []map[string]string{read.Metadata.Annotations, read.Metadata.Labels} {
		for name, word := range of {
			words[name] = word
		}
	}
	return words, nil
}
