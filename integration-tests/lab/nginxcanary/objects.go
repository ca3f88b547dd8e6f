package main

import "encoding/json"

// The parts of Kubernetes' objects that matter here.

type metadata struct {
	Namespace   string            `json:"namespace"`
	Name        string            `json:"name"`
	Annotations map[string]string `json:"annotations"`
	Created     string            `json:"creationTimestamp"`
}

type ingress struct {
	Metadata metadata `json:"metadata"`
	Spec     struct {
		Class *string `json:"ingressClassName"`
		Rules []struct {
			Host string `json:"host"`
			HTTP struct {
				Paths []ingressPath `json:"paths"`
			} `json:"http"`
		} `json:"rules"`
	} `json:"spec"`
	Status struct {
		LoadBalancer struct {
			Ingress []struct {
				IP string `json:"ip"`
			} `json:"ingress"`
		} `json:"loadBalancer"`
	} `json:"status"`
}

type ingressPath struct {
	Path     string `json:"path"`
	PathType string `json:"pathType"`
	Backend  struct {
		Service struct {
			Name string `json:"name"`
			Port struct {
				Name   string `json:"name"`
				Number int    `json:"number"`
			} `json:"port"`
		} `json:"service"`
	} `json:"backend"`
}

type service struct {
	Metadata metadata `json:"metadata"`
	Spec     struct {
		ClusterIP string `json:"clusterIP"`
		Ports     []struct {
			Name string `json:"name"`
			Port int    `json:"port"`
		} `json:"ports"`
	} `json:"spec"`
}

type list[T any] struct {
	Items []T `json:"items"`
}

func parse[T any](content []byte) ([]T, error) {
	var found list[T]
	err := json.Unmarshal(content, &found)
	return found.Items, err
}
