package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
)

// Listening says how a Server takes connections, and how it ends. Zero means the default.
type Listening struct {
	// Certificates are those of TLS; nil: plain HTTP.
	Certificates *Certificates
	// MaxConnections is how many connections are open at a time (default 16384). More wait.
	MaxConnections int
	// DrainDelay is how long the server still takes requests after it was told to end, while it says that it is not ready:
	// load balancers need a while to notice.
	DrainDelay time.Duration
	// Drain is how long running answers then have to come to their end (default 30 s). Those that have not are cut off,
	// with an error as their last event.
	Drain time.Duration
}

// Bounds of connections.
const (
	defaultConnections = 16384
	headerTimeout      = 10 * time.Second
	idleTimeout        = 2 * time.Minute
	maxHeader          = 64 << 10
	// cutTime is how long answers that are cut off have to write their last event.
	cutTime = 5 * time.Second
)

// CutError reports that answers were cut off when a server ended.
type CutError struct {
	Answers int
	After   time.Duration
}

func (e *CutError) Error() string {
	if e.Answers == 1 {
		return fmt.Sprintf("1 answer was cut off after %v", e.After)
	}
	return fmt.Sprintf("%d answers were cut off after %v", e.Answers, e.After)
}

// Serve answers requests that come through ln until ctx ends. Then it drains: GET /readyz fails at once, and GET /livez
// answers until Serve returns. The models stay loaded; Close frees them.
func (s *Server) Serve(ctx context.Context, ln net.Listener, opt Listening) error {
	if opt.MaxConnections <= 0 {
		opt.MaxConnections = defaultConnections
	}
	if opt.Drain <= 0 {
		opt.Drain = 30 * time.Second
	}
	hs := &http.Server{
		Handler: s, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		// A client that breaks off a handshake is nothing to worry about.
		ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
	ln = netutil.LimitListener(ln, opt.MaxConnections)
	done := make(chan error, 1)
	if opt.Certificates != nil {
		hs.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: opt.Certificates.get}
		go func() { done <- hs.ServeTLS(ln, "", "") }()
	} else {
		go func() { done <- hs.Serve(ln) }()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	return errors.Join(s.drain(hs, opt), hs.Close())
}

// drain ends what runs.
func (s *Server) drain(hs *http.Server, opt Listening) error {
	s.draining.Store(true)
	s.cfg.Log.Info("draining", "delay", opt.DrainDelay.String(), "deadline", opt.Drain.String(), "running", s.busy.Load())
	time.Sleep(opt.DrainDelay)
	s.stopping.Store(true)
	hs.SetKeepAlivesEnabled(false)
	if s.waitIdle(opt.Drain) {
		return nil
	}
	cut := int(s.busy.Load())
	s.models.cancel() // every answer ends with an error, which its client gets to see
	s.waitIdle(cutTime)
	return &CutError{Answers: cut, After: opt.Drain}
}

// waitIdle waits until nothing is being answered, and reports whether that was in time.
func (s *Server) waitIdle(limit time.Duration) bool {
	for end := time.Now().Add(limit); s.busy.Load() > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}
