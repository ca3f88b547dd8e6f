package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const example = "../../docs/examples/renderers/web-service"

func pluginRequest(t *testing.T, program, schema, params string) *Request {
	t.Helper()
	absolute, err := filepath.Abs(program)
	if err != nil {
		t.Fatal(err)
	}
	request := &Request{
		Kind:        "plugin",
		Namespace:   "shop",
		KubeVersion: "v1.33.1",
		APIVersions: []string{"apps/v1", "gateway.networking.k8s.io/v1/HTTPRoute"},
		Plugin: &Plugin{
			Name: "web-service", Program: absolute, Schema: json.RawMessage(schema),
			Application: "shop", Component: "web",
		},
	}
	if err := json.Unmarshal([]byte(params), &request.Values); err != nil {
		t.Fatal(err)
	}
	return request
}

// script is a program of the shell for one test.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func refusedBy(t *testing.T, request *Request) *Failure {
	t.Helper()
	answer := respond(request)
	if answer.Error == nil {
		t.Fatalf("rendered %v", answer.Objects)
	}
	return answer.Error
}

func TestExampleHidesThreeObjectsBehindFiveParameters(t *testing.T) {
	schema, err := os.ReadFile(example + ".schema.json")
	if err != nil {
		t.Fatal(err)
	}
	request := pluginRequest(t, example, string(schema), `{"image": "shop:1.0", "host": "shop.example", "replicas": 3}`)
	answer := rendered(t, request)
	want := []string{"Deployment/shop-web", "Service/shop-web", "HTTPRoute/shop-web"}
	if got := kinds(t, answer); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	if len(answer.Unsettled) != 0 {
		t.Errorf("nothing differs: %+v", answer.Unsettled)
	}
	for params, said := range map[string]string{
		`{"image": "shop:1.0"}`:                                 "plugin.params: missing property 'host'",
		`{"image": "a", "host": "b", "port": "http"}`:           "plugin.params.port: got string, want integer",
		`{"image": "a", "host": "b", "replica": 2, "port": 80}`: "plugin.params: additional properties 'replica' not allowed",
	} {
		failure := refusedBy(t, pluginRequest(t, example, string(schema), params))
		if failure.Reason != ReasonParams || failure.Message != said {
			t.Errorf("%s: %+v", params, failure)
		}
	}
}

func TestProgramSeesTheQuestionAndNothingElse(t *testing.T) {
	t.Setenv("KUBECONFIG", "/root/.kube/config")
	program := script(t, `
asked=$(cat)
test -z "$KUBECONFIG" || exit 7
printf '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "seen"}, "data": {"folder": "%s"}, "asked": %s}' "$(pwd)" "$asked"
`)
	request := pluginRequest(t, program, "", `{"a": 1}`)
	var seen struct {
		Data  map[string]string
		Asked map[string]any
	}
	if err := json.Unmarshal(rendered(t, request).Objects[0], &seen); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"apiVersion": "bellwether.dev/renderer/v1", "params": map[string]any{"a": 1.0},
		"application": "shop", "component": "web", "namespace": "shop",
		"cluster": map[string]any{
			"kubernetesVersion": "v1.33.1",
			"apiVersions":       []any{"apps/v1", "gateway.networking.k8s.io/v1/HTTPRoute"},
		},
	}
	if !reflect.DeepEqual(seen.Asked, want) || seen.Data["folder"] != "/" {
		t.Errorf("got %v in %v", seen.Asked, seen.Data)
	}
}

func TestProgramsThatFailSayWhy(t *testing.T) {
	for name, one := range map[string]struct{ text, reason, said string }{
		"ends badly":     {"echo 'the host is taken' >&2; exit 3", ReasonPlugin, "exit status 3: the host is taken"},
		"writes prose":   {"echo hello", ReasonBadYAML, "what the renderer web-service writes is no object"},
		"writes no kind": {"echo 'metadata: {name: a}'", ReasonBadYAML, "needs apiVersion and kind"},
		"writes nothing": {"true", ReasonPlugin, "wrote no objects"},
		"never stops":    {"while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done", ReasonTooLarge, "more than 32 MiB"},
	} {
		failure := refusedBy(t, pluginRequest(t, script(t, one.text), "", `{}`))
		if failure.Reason != one.reason || !strings.Contains(failure.Message, one.said) {
			t.Errorf("%s: %+v", name, failure)
		}
	}
	missing := refusedBy(t, pluginRequest(t, "/nowhere/program", "", `{}`))
	if missing.Reason != ReasonPlugin || !strings.Contains(missing.Message, "could not be run") {
		t.Errorf("got %+v", missing)
	}
	broken := refusedBy(t, pluginRequest(t, example, `{"$ref": "https://elsewhere.example/schema"}`, `{}`))
	if broken.Reason != ReasonPlugin || !strings.Contains(broken.Message, "is elsewhere") {
		t.Errorf("got %+v", broken)
	}
}

func TestProgramThatGivesAnotherEachTimeIsSaid(t *testing.T) {
	program := script(t, `cat >/dev/null
printf '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"pid": "%s", "same": "x"}}' $$`)
	answer := rendered(t, pluginRequest(t, program, "", `{}`))
	want := []Unsettled{{Object: "ConfigMap/a", Field: "/data/pid"}}
	if !reflect.DeepEqual(answer.Unsettled, want) {
		t.Errorf("got %+v", answer.Unsettled)
	}
}
