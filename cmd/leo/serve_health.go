package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"leolm/internal/bounded"
)

// healthTimeout is how long a server has to say that it is ready.
const healthTimeout = 5 * time.Second

func newServeHealthCmd() *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask a server on this machine whether it is ready",
		Long: `Ask the server on this machine that has the same settings whether it is ready for requests. The exit status says so: it
is for containers, which hold no other program to ask with.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := loadServeSettings(config, cmd.Flags(), os.Environ())
			if err != nil {
				return err
			}
			said, err := askReady(cmd.Context(), s)
			if err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), said)
			}
			return err
		},
	}
	preset := ""
	for _, o := range serveOptions() {
		if o.key == "listen" {
			preset = o.field.Tag.Get("default")
		}
	}
	cmd.Flags().StringVar(&config, "config", "", "YAML file with the server's settings")
	cmd.Flags().StringP("listen", "l", preset, "address that the server listens on: host:port, or unix:PATH")
	return cmd
}

// askReady asks for /readyz and returns what the server says; not being ready is an error.
func askReady(ctx context.Context, s *serveSettings) (string, error) {
	network, address := "tcp", s.Listen
	if path, ok := strings.CutPrefix(s.Listen, "unix:"); ok {
		network, address = "unix", path
	} else if host, port, err := net.SplitHostPort(s.Listen); err != nil {
		return "", usageError{fmt.Errorf("--listen %q: write host:port", s.Listen)}
	} else if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		address = net.JoinHostPort("localhost", port) // it listens on all addresses
	}
	scheme := "http"
	if s.TLSCert != "" {
		scheme = "https"
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
		// The certificate has the name by which others call the server.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://localhost/readyz", nil)
	if err != nil {
		return "", err
	}
	r, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return "", fmt.Errorf("no server at %s: %w", s.Listen, err)
	}
	body, err := bounded.Read(ctx, r.Body, "the answer", 4096)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("the server at %s is not ready: %s", s.Listen, body)
	}
	if cerr := r.Body.Close(); err == nil {
		err = cerr
	}
	return string(body), err
}
