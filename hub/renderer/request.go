package main

import (
	"encoding/json"
	"errors"
)

// Request says what to render, and for which cluster.
type Request struct {
	// Kind is helm, kustomize, manifests or plugin.
	Kind string `json:"kind"`
	// Files is the artifact.
	Files []File `json:"files"`
	// Path is the folder in it that holds the chart, the kustomization or the manifests; empty = its root.
	Path string `json:"path,omitempty"`
	// Values are the chart's, or the parameters of a plugin.
	Values map[string]any `json:"values,omitempty"`
	// ReleaseName is what the chart sees as .Release.Name.
	ReleaseName string `json:"releaseName,omitempty"`
	// Namespace is what the chart sees as .Release.Namespace.
	Namespace string `json:"namespace,omitempty"`
	// KubeVersion is the version of the cluster, as v1.33.2.
	KubeVersion string `json:"kubeVersion,omitempty"`
	// APIVersions is what the cluster serves, as apps/v1 and apps/v1/Deployment.
	APIVersions []string `json:"apiVersions,omitempty"`
	// IncludeCRDs keeps the definitions of the chart's folder crds.
	IncludeCRDs bool `json:"includeCRDs,omitempty"`
	// Images are replaced by the kustomization that is laid over the artifact's.
	Images []json.RawMessage `json:"images,omitempty"`
	// Patches are made by the kustomization that is laid over the artifact's.
	Patches []json.RawMessage `json:"patches,omitempty"`
	// Plugin is the program that makes the objects; absent for any other kind.
	Plugin *Plugin `json:"plugin,omitempty"`
}

// File is one file of an artifact.
type File struct {
	// Path is relative, with slashes.
	Path string `json:"path"`
	// Contents is base64 on the wire.
	Contents []byte `json:"contents"`
}

// Answer is what came of it: objects, or an error.
type Answer struct {
	// Objects are what the cluster shall have, in the order in which they are applied.
	Objects []json.RawMessage `json:"objects,omitempty"`
	// Hooks are the chart's, which are not among the objects.
	Hooks []Hook `json:"hooks,omitempty"`
	// Unsettled names fields that differ when the same is rendered again.
	Unsettled []Unsettled `json:"unsettled,omitempty"`
	// Chart says what was rendered; absent for anything but charts.
	Chart *ChartInfo `json:"chart,omitempty"`
	// Notes is what the chart says to its user; empty = nothing.
	Notes string `json:"notes,omitempty"`
	// Error says why nothing was rendered; absent = something was.
	Error *Failure `json:"error,omitempty"`
}

// ChartInfo names a chart.
type ChartInfo struct {
	Name       string `json:"name"`
	Version    string `json:"version"`
	AppVersion string `json:"appVersion,omitempty"`
}

// Unsettled is a field of an object that is another each time.
type Unsettled struct {
	// Object is as Secret/web, with its namespace where it names one.
	Object string `json:"object"`
	// Field is a JSON pointer; empty = the object is not always there.
	Field string `json:"field"`
}

// Reasons of failures; they stay what they are, for others act on them.
const (
	ReasonBadArtifact   = "BadArtifact"
	ReasonTemplate      = "TemplateError"
	ReasonBadYAML       = "BadYAML"
	ReasonValues        = "ValuesRefused"
	ReasonDependencies  = "MissingDependencies"
	ReasonIncompatible  = "IncompatibleCluster"
	ReasonKustomize     = "KustomizeError"
	ReasonForbidden     = "Forbidden"
	ReasonTooLarge      = "TooLarge"
	ReasonUnknownSource = "UnknownKind"
	ReasonPlugin        = "PluginFailed"
	ReasonParams        = "ParamsRefused"
)

// Failure says why nothing was rendered.
type Failure struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
	// File is the artifact's file that is wrong; empty = none in particular.
	File string `json:"file,omitempty"`
	// Line is the line in that file, from 1; 0 = not known.
	Line int `json:"line,omitempty"`
}

func (f *Failure) Error() string { return f.Message }

func respond(request *Request) *Answer {
	first, err := render(request)
	if err != nil {
		return &Answer{Error: failure(err)}
	}
	// What is another each time would look like a change each time.
	second, err := render(request)
	if err != nil {
		return &Answer{Error: failure(err)}
	}
	first.Unsettled = unsettled(first.everything(), second.everything())
	return first
}

// everything is what is rendered, hooks included.
func (a *Answer) everything() []json.RawMessage {
	all := append([]json.RawMessage{}, a.Objects...)
	for _, hook := range a.Hooks {
		all = append(all, hook.Object)
	}
	return all
}

func render(request *Request) (*Answer, error) {
	switch request.Kind {
	case "helm":
		return renderChart(request)
	case "kustomize":
		return renderKustomization(request)
	case "manifests":
		return renderManifests(request)
	case "plugin":
		return renderPlugin(request)
	default:
		return nil, &Failure{Reason: ReasonUnknownSource, Message: "this renderer knows no kind " + request.Kind}
	}
}

func failure(err error) *Failure {
	var known *Failure
	if errors.As(err, &known) {
		return known
	}
	return &Failure{Reason: ReasonBadArtifact, Message: err.Error()}
}
