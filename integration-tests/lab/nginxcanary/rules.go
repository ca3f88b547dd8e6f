package main

import (
	"cmp"
	"fmt"
	"slices"
)

// class is the Ingress class that the stand-in serves.
const class = "nginx"

// backend is a Service's port that requests go to.
type backend struct {
	// service is its name as metrics tell it: namespace-name-port.
	service string
	address string
}

// rule is one host and path with where its requests go.
type rule struct {
	host, path, pathType string
	ingress              metadata
	serviceName          string
	main                 backend
	// second and how are set where a canary Ingress has the same host and path.
	second *backend
	how    canary
}

type place struct{ host, path, pathType string }

// compile turns Ingresses into rules, sorted by host and then by place. What cannot be served is left out and told,
// by the Ingress that has it: one Ingress that is wrong must not take the others down.
func compile(ingresses []ingress, services []service) ([]rule, []error) {
	var problems []error
	// As in the controller, the older of two Ingresses for one place wins.
	slices.SortFunc(ingresses, func(a, b ingress) int {
		return cmp.Or(
			cmp.Compare(a.Metadata.Created, b.Metadata.Created),
			cmp.Compare(a.Metadata.Namespace, b.Metadata.Namespace),
			cmp.Compare(a.Metadata.Name, b.Metadata.Name))
	})
	rules := map[place]*rule{}
	for _, pass := range []func(ingress) error{
		func(one ingress) error { return addMain(rules, one, services) },
		func(one ingress) error { return addCanary(rules, one, services) },
	} {
		for _, one := range ingresses {
			if one.Spec.Class == nil || *one.Spec.Class != class {
				continue
			}
			if err := pass(one); err != nil {
				problems = append(problems, fmt.Errorf("%s/%s: %w", one.Metadata.Namespace, one.Metadata.Name, err))
			}
		}
	}
	sorted := make([]rule, 0, len(rules))
	for _, one := range rules {
		sorted = append(sorted, *one)
	}
	slices.SortFunc(sorted, func(a, b rule) int {
		return cmp.Or(cmp.Compare(a.host, b.host), cmp.Compare(a.path, b.path), cmp.Compare(a.pathType, b.pathType))
	})
	return sorted, problems
}

func addMain(rules map[place]*rule, one ingress, services []service) error {
	if isCanary(one.Metadata.Annotations) {
		return nil
	}
	return eachPath(one, services, func(at place, path ingressPath, to backend) error {
		if taken, ok := rules[at]; ok {
			return fmt.Errorf("host %q and path %q are defined already in ingress %s/%s",
				at.host, at.path, taken.ingress.Namespace, taken.ingress.Name)
		}
		rules[at] = &rule{
			host: at.host, path: at.path, pathType: at.pathType,
			ingress: one.Metadata, serviceName: path.Backend.Service.Name, main: to,
		}
		return nil
	})
}

func addCanary(rules map[place]*rule, one ingress, services []service) error {
	if !isCanary(one.Metadata.Annotations) {
		return nil
	}
	how, err := parseCanary(one.Metadata.Annotations)
	if err != nil {
		return err
	}
	return eachPath(one, services, func(at place, _ ingressPath, to backend) error {
		rule, ok := rules[at]
		switch {
		case !ok:
			return fmt.Errorf("no other ingress has host %q and path %q", at.host, at.path)
		case rule.second != nil:
			return fmt.Errorf("host %q and path %q have a canary already", at.host, at.path)
		}
		rule.second, rule.how = &to, how
		return nil
	})
}

func eachPath(one ingress, services []service, add func(place, ingressPath, backend) error) error {
	for _, entry := range one.Spec.Rules {
		for _, path := range entry.HTTP.Paths {
			to, err := resolve(one.Metadata.Namespace, path, services)
			if err != nil {
				return err
			}
			at := place{entry.Host, cmp.Or(path.Path, "/"), path.PathType}
			if err := add(at, path, to); err != nil {
				return err
			}
		}
	}
	return nil
}

// resolve finds the address of a Service's port. Requests go to the Service's own address, as they do with the
// controller's annotation service-upstream: pods come and go without a reload.
func resolve(namespace string, path ingressPath, services []service) (backend, error) {
	wanted := path.Backend.Service
	for _, one := range services {
		if one.Metadata.Namespace != namespace || one.Metadata.Name != wanted.Name {
			continue
		}
		for _, port := range one.Spec.Ports {
			if port.Port == wanted.Port.Number || (wanted.Port.Name != "" && port.Name == wanted.Port.Name) {
				if one.Spec.ClusterIP == "" || one.Spec.ClusterIP == "None" {
					return backend{}, fmt.Errorf("service %q has no address", wanted.Name)
				}
				return backend{
					service: fmt.Sprintf("%s-%s-%d", namespace, wanted.Name, port.Port),
					address: fmt.Sprintf("%s:%d", one.Spec.ClusterIP, port.Port),
				}, nil
			}
		}
		return backend{}, fmt.Errorf("service %q has no port %d%s", wanted.Name, wanted.Port.Number, wanted.Port.Name)
	}
	return backend{}, fmt.Errorf("there is no service %q", wanted.Name)
}
