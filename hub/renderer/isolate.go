package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
)

var errNoNetwork = errors.New("a rendering reaches no network")

type refusing struct{}

func (refusing) RoundTrip(request *http.Request) (*http.Response, error) {
	return nil, &Failure{
		Reason:  ReasonForbidden,
		Message: errNoNetwork.Error() + ": " + request.URL.Redacted(),
	}
}

// isolate takes away every way out that the libraries have: they dial, resolve and run programs by these alone. Where
// the hub may, it also starts this process without a network at all; and see seal.
func isolate() {
	http.DefaultTransport = refusing{}
	http.DefaultClient = &http.Client{Transport: refusing{}}
	net.DefaultResolver = &net.Resolver{
		PreferGo: true,
		Dial:     func(context.Context, string, string) (net.Conn, error) { return nil, errNoNetwork },
	}
	os.Clearenv()
}
