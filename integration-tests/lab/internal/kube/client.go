// Package kube is the little of a Kubernetes client that the lab needs: apply objects, read them, wait for them.
package kube

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// Client talks to the API server of one cluster.
type Client struct {
	server string
	http   *http.Client
}

// New makes a client from the files of an authority, a client certificate and its key.
func New(server, authority, certificate, key string) (*Client, error) {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(authority)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}}
	return &Client{server: server, http: &http.Client{Transport: transport, Timeout: 15 * time.Second}}, nil
}

// Do sends one request and gives the answer; every status of 400 and above is an error.
func (c *Client) Do(ctx context.Context, method, path, contentType string, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.server+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode >= 400 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, response.Status, strings.TrimSpace(string(content)))
	}
	return content, err
}

// Apply applies an object at its path, by server-side apply.
func (c *Client) Apply(ctx context.Context, path, yaml string) error {
	_, err := c.Do(ctx, http.MethodPatch, path+"?fieldManager=lab&force=true", "application/apply-patch+yaml", []byte(yaml))
	return err
}

// condition is the part of a status that waiting looks at.
type condition struct {
	Type   string `json:"type"`
	Status string `json:"status"`
}

type conditioned struct {
	Metadata struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Status struct {
		Conditions []condition `json:"conditions"`
	} `json:"status"`
	Items []conditioned `json:"items"`
}

func (o conditioned) has(wanted string) bool {
	for _, condition := range o.Status.Conditions {
		if condition.Type == wanted {
			return condition.Status == "True"
		}
	}
	return false
}

// HasCondition tells whether the object at this path has the condition.
func (c *Client) HasCondition(ctx context.Context, path, wanted string) (bool, error) {
	content, err := c.Do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return false, err
	}
	var object conditioned
	if err := json.Unmarshal(content, &object); err != nil {
		return false, err
	}
	return object.has(wanted), nil
}

// ReadyNodes counts the nodes that are Ready.
func (c *Client) ReadyNodes(ctx context.Context) (int, error) {
	content, err := c.Do(ctx, http.MethodGet, "/api/v1/nodes", "", nil)
	if err != nil {
		return 0, err
	}
	var list conditioned
	if err := json.Unmarshal(content, &list); err != nil {
		return 0, err
	}
	ready := 0
	for _, node := range list.Items {
		if node.has("Ready") {
			ready++
		}
	}
	return ready, nil
}
