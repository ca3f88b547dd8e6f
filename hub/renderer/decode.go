package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// decode reads every document of a file as Kubernetes reads it: 0644 is 420, and `on` is true. Lists are taken apart.
func decode(file string, contents []byte) ([]json.RawMessage, error) {
	documents := utilyaml.NewYAMLReader(newBufferedReader(contents))
	var objects []json.RawMessage
	for number := 1; ; number++ {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, badYAML(file, number, err)
		}
		encoded, err := yaml.YAMLToJSON(document)
		if err != nil {
			return nil, badYAML(file, number, err)
		}
		found, err := objectsOf(encoded)
		if err != nil {
			return nil, badYAML(file, number, err)
		}
		objects = append(objects, found...)
	}
}

func badYAML(file string, document int, err error) *Failure {
	message := err.Error()
	if document > 1 {
		message = fmt.Sprintf("document %d: %s", document, message)
	}
	return &Failure{Reason: ReasonBadYAML, Message: message, File: file}
}

// objectsOf gives the object that a document holds, or those of the list that it is; empty documents hold none.
func objectsOf(document json.RawMessage) ([]json.RawMessage, error) {
	if bytes.Equal(bytes.TrimSpace(document), []byte("null")) {
		return nil, nil
	}
	var head struct {
		APIVersion string            `json:"apiVersion"`
		Kind       string            `json:"kind"`
		Items      []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(document, &head); err != nil {
		return nil, errors.New("it is no object of Kubernetes")
	}
	if head.Kind == "" || head.APIVersion == "" {
		return nil, errors.New("an object needs apiVersion and kind")
	}
	if head.Kind != "List" || head.APIVersion != "v1" {
		return []json.RawMessage{document}, nil
	}
	var objects []json.RawMessage
	for _, item := range head.Items {
		found, err := objectsOf(item)
		if err != nil {
			return nil, fmt.Errorf("in a list: %w", err)
		}
		objects = append(objects, found...)
	}
	return objects, nil
}
