// The renderer turns one artifact into Kubernetes objects: a chart, a kustomization, or a folder of manifests; or has a
// program make them that the hub's operator registered.
//
// It is run once per rendering, as a child of the hub: a request as JSON on stdin, an answer as JSON on stdout. It
// reaches no network, no cluster and no program but that one, and lives within limits that it sets for itself first.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
)

// version is part of the name under which a rendering is kept: raise it when the same request is answered otherwise.
const version = "3"

func main() {
	memoryMiB := flag.Uint64("memory-mib", 512, "memory that one rendering may use")
	cpuSeconds := flag.Uint64("cpu-seconds", 30, "processor time that one rendering may use")
	requestMiB := flag.Int64("request-mib", 64, "size of a request")
	answerMiB := flag.Int("answer-mib", 32, "size of an answer")
	says := flag.Bool("version", false, "print the version and end")
	sealed := flag.Bool("sealed", false, "take the network away from this process first, or fail")
	flag.Parse()
	if *sealed {
		if err := seal(); err != nil {
			fail(err)
		}
	}
	if *says {
		fmt.Println(version)
		return
	}
	if err := limit(*memoryMiB, *cpuSeconds); err != nil {
		fail(err)
	}
	isolate()
	request, err := read(os.Stdin, *requestMiB<<20)
	if err != nil {
		fail(err)
	}
	answer := respond(request)
	encoded, err := json.Marshal(answer)
	if err != nil {
		fail(err)
	}
	if len(encoded) > *answerMiB<<20 {
		encoded, err = json.Marshal(Answer{Error: &Failure{
			Reason:  ReasonTooLarge,
			Message: fmt.Sprintf("what it renders is larger than %d MiB", *answerMiB),
		}})
		if err != nil {
			fail(err)
		}
	}
	if _, err := os.Stdout.Write(encoded); err != nil {
		fail(err)
	}
}

// fail ends a renderer that could not answer at all; whatever can be said to a user is in an answer.
func fail(err error) {
	fmt.Fprintln(os.Stderr, "renderer:", err)
	os.Exit(1)
}

func read(from io.Reader, maxBytes int64) (*Request, error) {
	bytes, err := io.ReadAll(io.LimitReader(from, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("failed to read the request: %w", err)
	}
	if int64(len(bytes)) > maxBytes {
		return nil, fmt.Errorf("the request is larger than %d bytes", maxBytes)
	}
	var request Request
	if err := json.Unmarshal(bytes, &request); err != nil {
		return nil, fmt.Errorf("failed to read the request: %w", err)
	}
	return &request, nil
}
