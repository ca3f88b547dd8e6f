package main

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes/scheme"
)

// What the hub merges by, and cases of it that both implementations must agree on.
const (
	mergeKeysFile  = "../../crds/src/strategic/merge_keys.json"
	mergeCasesFile = "../../crds/src/strategic/cases.json"
)

// Read before anything takes the environment away.
var update = os.Getenv("UPDATE") != ""

// mergeKeys says how fields of the kinds of Kubernetes are merged, as tags of its types say it.
type mergeKeys struct {
	// Kinds are types by `apiVersion/kind`.
	Kinds map[string]string `json:"kinds"`
	// Types are those fields of types that are not simply replaced or merged.
	Types map[string]map[string]mergeField `json:"types"`
}

type mergeField struct {
	// Type is the field's own, or that of a list's items; empty = nothing in it is special.
	Type string `json:"type,omitempty"`
	// Key names items of a list that is merged.
	Key string `json:"key,omitempty"`
	// Strategy is merge or replace; empty = lists are replaced, maps are merged.
	Strategy string `json:"strategy,omitempty"`
}

func typeName(of reflect.Type) string {
	path := of.PkgPath()
	path = strings.TrimPrefix(path, "k8s.io/api/")
	path = strings.TrimPrefix(path, "k8s.io/apimachinery/pkg/apis/")
	return path + "." + of.Name()
}

// collect notes the fields of a type, and says whether there are any.
func (m *mergeKeys) collect(of reflect.Type, open map[reflect.Type]bool) bool {
	if of.Kind() != reflect.Struct || open[of] {
		return false
	}
	name := typeName(of)
	if known, done := m.Types[name]; done {
		return len(known) > 0
	}
	open[of] = true
	defer delete(open, of)
	fields := map[string]mergeField{}
	m.fields(of, fields, open)
	m.Types[name] = fields
	return len(fields) > 0
}

func (m *mergeKeys) fields(of reflect.Type, into map[string]mergeField, open map[reflect.Type]bool) {
	for index := range of.NumField() {
		field := of.Field(index)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		inner := field.Type
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if name == "" && strings.Contains(options, "inline") {
			m.fields(inner, into, open)
			continue
		}
		var found mergeField
		for _, strategy := range strings.Split(field.Tag.Get("patchStrategy"), ",") {
			if strategy == "merge" || strategy == "replace" {
				found.Strategy = strategy
			}
		}
		found.Key = field.Tag.Get("patchMergeKey")
		if m.collect(inner, open) {
			found.Type = typeName(inner)
		}
		if found != (mergeField{}) && name != "" && name != "-" && name != "status" {
			into[name] = found
		}
	}
}

func TestMergeKeysAreThoseOfKubernetes(t *testing.T) {
	found := mergeKeys{Kinds: map[string]string{}, Types: map[string]map[string]mergeField{}}
	for kind, of := range scheme.Scheme.AllKnownTypes() {
		if _, isObject := of.FieldByName("ObjectMeta"); !isObject || kind.Version == "__internal" {
			continue
		}
		found.collect(of, map[reflect.Type]bool{})
		found.Kinds[kind.GroupVersion().String()+"/"+kind.Kind] = typeName(of)
	}
	for name, fields := range found.Types {
		if len(fields) == 0 {
			delete(found.Types, name)
		}
	}
	text, err := json.MarshalIndent(found, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	if update {
		if err := os.WriteFile(mergeKeysFile, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(mergeKeysFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(kept, text) {
		t.Errorf("%s is not what Kubernetes has; run: UPDATE=1 go test -run MergeKeys .", mergeKeysFile)
	}
}

// What the hub makes of these cases is tested beside it; here, that Kubernetes makes the same.
func TestKubernetesMergesTheCasesAsTheHubDoes(t *testing.T) {
	text, err := os.ReadFile(mergeCasesFile)
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name                    string
		Object, Patch, Expected json.RawMessage
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	for _, one := range cases {
		var head struct{ APIVersion, Kind string }
		if err := json.Unmarshal(one.Object, &head); err != nil {
			t.Fatal(err)
		}
		of := kindOf(t, head.APIVersion, head.Kind)
		merged, err := strategicpatch.StrategicMergePatch(one.Object, one.Patch, of)
		if err != nil {
			t.Errorf("%s: %v", one.Name, err)
			continue
		}
		var got, want any
		if json.Unmarshal(merged, &got) != nil || json.Unmarshal(one.Expected, &want) != nil {
			t.Fatalf("%s: no JSON", one.Name)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %s", one.Name, merged)
		}
	}
}

func kindOf(t *testing.T, apiVersion, kind string) any {
	t.Helper()
	for known, of := range scheme.Scheme.AllKnownTypes() {
		if known.GroupVersion().String() == apiVersion && known.Kind == kind {
			return reflect.New(of).Interface()
		}
	}
	t.Fatalf("no kind %s/%s", apiVersion, kind)
	return nil
}
