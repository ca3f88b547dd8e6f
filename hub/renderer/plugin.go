package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// pluginProtocol says how a program is asked: one that knows another protocol can tell.
const pluginProtocol = "bellwether.dev/renderer/v1"

const (
	// maxPluginOutput is what a program may write; the hub's own limit for all objects is not above it.
	maxPluginOutput = 32 << 20
	// maxPluginComplaint is how much of the end of what a program complains about is kept.
	maxPluginComplaint = 2 << 10
	paramsSchema       = "bellwether:///params.schema.json"
)

// Plugin is a program that the hub's operator registered.
type Plugin struct {
	// Name is the one under which it is registered.
	Name string `json:"name"`
	// Program is its file.
	Program string `json:"program"`
	// Schema is the JSON schema of its parameters; absent = any are taken.
	Schema json.RawMessage `json:"schema,omitempty"`
	// Application is whose component is rendered.
	Application string `json:"application"`
	// Component is what is rendered.
	Component string `json:"component"`
}

// pluginInput is what a program reads.
type pluginInput struct {
	APIVersion  string         `json:"apiVersion"`
	Params      map[string]any `json:"params"`
	Application string         `json:"application"`
	Component   string         `json:"component"`
	Namespace   string         `json:"namespace"`
	Cluster     pluginCluster  `json:"cluster"`
}

type pluginCluster struct {
	KubernetesVersion string   `json:"kubernetesVersion"`
	APIVersions       []string `json:"apiVersions"`
}

// renderPlugin has a program make the objects. It inherits this process's limits, and its lack of a network, an
// environment and files to write.
func renderPlugin(request *Request) (*Answer, error) {
	plugin := request.Plugin
	if plugin == nil {
		return nil, &Failure{Reason: ReasonPlugin, Message: "no renderer is named"}
	}
	input := pluginInput{
		APIVersion:  pluginProtocol,
		Params:      request.Values,
		Application: plugin.Application,
		Component:   plugin.Component,
		Namespace:   request.Namespace,
		Cluster:     pluginCluster{KubernetesVersion: request.KubeVersion, APIVersions: request.APIVersions},
	}
	if input.Params == nil {
		input.Params = map[string]any{}
	}
	if input.Cluster.APIVersions == nil {
		input.Cluster.APIVersions = []string{}
	}
	if err := checkParams(plugin, input.Params); err != nil {
		return nil, err
	}
	encoded, err := json.Marshal(input)
	if err != nil {
		return nil, fmt.Errorf("failed to write what the renderer %s is asked: %w", plugin.Name, err)
	}
	output, err := run(plugin, encoded)
	if err != nil {
		return nil, err
	}
	objects, err := decode("", output)
	if err != nil {
		known := failure(err)
		known.Message = fmt.Sprintf("what the renderer %s writes is no object: %s", plugin.Name, known.Message)
		return nil, known
	}
	if len(objects) == 0 {
		return nil, &Failure{
			Reason:  ReasonPlugin,
			Message: fmt.Sprintf("the renderer %s wrote no objects", plugin.Name),
		}
	}
	return &Answer{Objects: objects}, nil
}

func run(plugin *Plugin, input []byte) ([]byte, error) {
	// The program is told of this process's death by the kernel, which takes a thread's death for it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	output := &atMost{limit: maxPluginOutput}
	complaint := &lastOf{limit: maxPluginComplaint}
	command := exec.Command(plugin.Program)
	command.Env = []string{}
	command.Dir = "/"
	command.Stdin = bytes.NewReader(input)
	command.Stdout = output
	command.Stderr = complaint
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err := command.Run()
	if output.exceeded {
		return nil, &Failure{
			Reason:  ReasonTooLarge,
			Message: fmt.Sprintf("the renderer %s writes more than %d MiB", plugin.Name, maxPluginOutput>>20),
		}
	}
	var ended *exec.ExitError
	switch {
	case err == nil:
		return output.kept.Bytes(), nil
	case errors.As(err, &ended):
		return nil, &Failure{
			Reason:  ReasonPlugin,
			Message: fmt.Sprintf("the renderer %s ended with %s%s", plugin.Name, ended, complaint.said()),
		}
	default:
		return nil, &Failure{
			Reason:  ReasonPlugin,
			Message: fmt.Sprintf("the renderer %s could not be run: %s", plugin.Name, err),
		}
	}
}

// checkParams holds parameters against the schema that the program brings.
func checkParams(plugin *Plugin, params map[string]any) error {
	if len(plugin.Schema) == 0 {
		return nil
	}
	broken := func(err error) error {
		return &Failure{
			Reason:  ReasonPlugin,
			Message: fmt.Sprintf("the schema of the renderer %s is none: %s", plugin.Name, err),
		}
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(plugin.Schema))
	if err != nil {
		return broken(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(noLoader{})
	if err := compiler.AddResource(paramsSchema, document); err != nil {
		return broken(err)
	}
	schema, err := compiler.Compile(paramsSchema)
	if err != nil {
		return broken(err)
	}
	err = schema.Validate(params)
	var refused *jsonschema.ValidationError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return &Failure{Reason: ReasonParams, Message: strings.Join(refusals(refused), "; ")}
	default:
		return broken(err)
	}
}

// refusals names each parameter that the schema refuses, with why.
func refusals(refused *jsonschema.ValidationError) []string {
	if len(refused.Causes) == 0 {
		field := strings.Join(append([]string{"plugin", "params"}, refused.InstanceLocation...), ".")
		why := refused.ErrorKind.LocalizedString(message.NewPrinter(language.English))
		return []string{field + ": " + why}
	}
	var all []string
	for _, cause := range refused.Causes {
		all = append(all, refusals(cause)...)
	}
	return all
}

// noLoader finds no schema elsewhere.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s is elsewhere: a schema stands in one file", url)
}

// atMost keeps what is written up to a limit, and ends whoever writes more.
type atMost struct {
	// Not embedded: its ReadFrom would read without a limit.
	kept     bytes.Buffer
	limit    int
	exceeded bool
}

func (a *atMost) Write(more []byte) (int, error) {
	if a.kept.Len()+len(more) > a.limit {
		a.exceeded = true
		return 0, io.ErrShortWrite
	}
	return a.kept.Write(more)
}

// lastOf keeps the end of what is written, which is where programs say why they end.
type lastOf struct {
	kept  []byte
	limit int
}

func (l *lastOf) Write(more []byte) (int, error) {
	l.kept = append(l.kept, more...)
	if over := len(l.kept) - l.limit; over > 0 {
		l.kept = append([]byte{}, l.kept[over:]...)
	}
	return len(more), nil
}

func (l *lastOf) said() string {
	text := strings.TrimSpace(strings.ToValidUTF8(string(l.kept), ""))
	if text == "" {
		return ""
	}
	return ": " + text
}
