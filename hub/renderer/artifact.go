package main

import (
	"fmt"
	"path"
	"sort"
	"strings"
)

// under gives the files below a folder, with paths relative to it, sorted.
func under(request *Request) ([]File, error) {
	folder := path.Clean("/" + request.Path)[1:]
	files := make([]File, 0, len(request.Files))
	seen := map[string]bool{}
	for _, file := range request.Files {
		clean := path.Clean("/" + file.Path)[1:]
		if clean != file.Path || seen[clean] {
			return nil, &Failure{
				Reason:  ReasonBadArtifact,
				Message: fmt.Sprintf("the artifact has a file of the name %q", file.Path),
				File:    file.Path,
			}
		}
		seen[clean] = true
		if folder == "" {
			files = append(files, file)
		} else if below, found := strings.CutPrefix(file.Path, folder+"/"); found {
			files = append(files, File{Path: below, Contents: file.Contents})
		}
	}
	if len(files) == 0 {
		return nil, &Failure{
			Reason:  ReasonBadArtifact,
			Message: fmt.Sprintf("the artifact has no files in %q", "/"+folder),
		}
	}
	sort.Slice(files, func(a, b int) bool { return files[a].Path < files[b].Path })
	return files, nil
}
