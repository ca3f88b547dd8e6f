package main

import (
	"fmt"
	"regexp"
	"strconv"
)

const prefix = "nginx.ingress.kubernetes.io/"

// canary is what the annotations of a canary Ingress say.
type canary struct {
	header, headerValue, headerPattern string
	cookie                             string
	weight, weightTotal                int
}

// wordPattern is what nginx can make a variable's name of, dashes apart, which it turns into underscores in headers.
var wordPattern = regexp.MustCompile(`^[A-Za-z0-9_]+$`)
var headerNamePattern = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// isCanary tells whether an Ingress only adds a second backend to another one.
func isCanary(annotations map[string]string) bool { return annotations[prefix+"canary"] == "true" }

// parseCanary reads the documented annotations. What the controller would take for something else is an error here: a
// test must not pass by accident.
func parseCanary(annotations map[string]string) (canary, error) {
	found := canary{
		header:        annotations[prefix+"canary-by-header"],
		headerValue:   annotations[prefix+"canary-by-header-value"],
		headerPattern: annotations[prefix+"canary-by-header-pattern"],
		cookie:        annotations[prefix+"canary-by-cookie"],
		weightTotal:   100,
	}
	if found.header != "" && !headerNamePattern.MatchString(found.header) {
		return found, fmt.Errorf("canary-by-header %q is no name of a header", found.header)
	}
	if found.header == "" && found.headerValue+found.headerPattern != "" {
		return found, fmt.Errorf("canary-by-header-value and -pattern need canary-by-header")
	}
	if found.cookie != "" && !wordPattern.MatchString(found.cookie) {
		return found, fmt.Errorf("canary-by-cookie %q is no name that this stand-in can look up", found.cookie)
	}
	if _, err := regexp.Compile(found.headerPattern); err != nil {
		return found, fmt.Errorf("canary-by-header-pattern: %w", err)
	}
	for _, number := range []struct {
		name  string
		value *int
		least int
	}{{"canary-weight-total", &found.weightTotal, 1}, {"canary-weight", &found.weight, 0}} {
		text, said := annotations[prefix+number.name]
		if !said {
			continue
		}
		value, err := strconv.Atoi(text)
		if err != nil || value < number.least {
			return found, fmt.Errorf("%s %q is no number of at least %d", number.name, text, number.least)
		}
		*number.value = value
	}
	// The controller takes no smaller total than 100.
	found.weightTotal = max(found.weightTotal, 100)
	if found.weight > found.weightTotal {
		return found, fmt.Errorf("canary-weight %d is more than canary-weight-total %d", found.weight, found.weightTotal)
	}
	return found, nil
}
