package main

import (
	"bufio"
	"bytes"
	"path"

	"sigs.k8s.io/kustomize/api/konfig"
)

func newBufferedReader(contents []byte) *bufio.Reader {
	return bufio.NewReader(bytes.NewReader(contents))
}

// renderManifests reads every YAML and JSON file of a folder, in the order of their names.
func renderManifests(request *Request) (*Answer, error) {
	files, err := under(request)
	if err != nil {
		return nil, err
	}
	answer := &Answer{}
	for _, file := range files {
		for _, name := range konfig.RecognizedKustomizationFileNames() {
			if file.Path == name {
				return nil, &Failure{
					Reason:  ReasonBadArtifact,
					Message: "the folder is a kustomization: name it under kustomize",
					File:    file.Path,
				}
			}
		}
		switch path.Ext(file.Path) {
		case ".yaml", ".yml", ".json":
		default:
			continue
		}
		objects, err := decode(file.Path, file.Contents)
		if err != nil {
			return nil, err
		}
		answer.Objects = append(answer.Objects, objects...)
	}
	if len(answer.Objects) == 0 {
		return nil, &Failure{Reason: ReasonBadArtifact, Message: "the folder holds no objects"}
	}
	return answer, nil
}
