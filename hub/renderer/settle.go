package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
	"strconv"
	"strings"
)

// Fields that are named; more say nothing more.
const maxUnsettled = 10

// unsettled names what differs between two renderings of the same.
func unsettled(first, second []json.RawMessage) []Unsettled {
	var found []Unsettled
	before, after := byName(first), byName(second)
	names := make([]string, 0, len(before))
	for name := range before {
		names = append(names, name)
	}
	for name := range after {
		if _, known := before[name]; !known {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for _, name := range names {
		one, inFirst := before[name]
		other, inSecond := after[name]
		if !inFirst || !inSecond {
			found = append(found, Unsettled{Object: name})
			continue
		}
		for _, field := range differences("", one, other) {
			found = append(found, Unsettled{Object: name, Field: field})
		}
	}
	if len(found) > maxUnsettled {
		found = found[:maxUnsettled]
	}
	return found
}

func byName(objects []json.RawMessage) map[string]any {
	named := map[string]any{}
	for _, object := range objects {
		var head struct {
			Kind     string `json:"kind"`
			Metadata struct {
				Name      string `json:"name"`
				Namespace string `json:"namespace"`
			} `json:"metadata"`
		}
		var value any
		if json.Unmarshal(object, &head) != nil || json.Unmarshal(object, &value) != nil {
			continue
		}
		name := head.Kind + "/" + head.Metadata.Name
		if head.Metadata.Namespace != "" {
			name = fmt.Sprintf("%s/%s/%s", head.Kind, head.Metadata.Namespace, head.Metadata.Name)
		}
		named[name] = value
	}
	return named
}

func differences(at string, one, other any) []string {
	if reflect.DeepEqual(one, other) {
		return nil
	}
	switch one := one.(type) {
	case map[string]any:
		if other, same := other.(map[string]any); same {
			return fieldDifferences(at, one, other)
		}
	case []any:
		if other, same := other.([]any); same && len(one) == len(other) {
			var found []string
			for index := range one {
				found = append(found, differences(at+"/"+strconv.Itoa(index), one[index], other[index])...)
			}
			return found
		}
	}
	return []string{at}
}

func fieldDifferences(at string, one, other map[string]any) []string {
	var found []string
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	for key := range one {
		found = append(found, differences(at+"/"+escape.Replace(key), one[key], other[key])...)
	}
	for key := range other {
		if _, known := one[key]; !known {
			found = append(found, at+"/"+escape.Replace(key))
		}
	}
	sort.Strings(found)
	return found
}
