package serve

import (
	"net/http"
	"strings"
)

// below takes Config.PathPrefix off a request's path. Probes and metrics are also found without it: they come from beside
// the server, not through its proxy. ok is false if the request is answered.
func (s *Server) below(w http.ResponseWriter, r *http.Request) (_ *http.Request, ok bool) {
	prefix := s.cfg.PathPrefix
	if prefix == "" {
		return r, true
	}
	path := r.URL.Path
	rest, ok := strings.CutPrefix(path, prefix)
	switch {
	case ok && rest == "":
		http.Redirect(w, r, strings.TrimPrefix(prefix[strings.LastIndex(prefix, "/"):], "/")+"/", http.StatusPermanentRedirect)
		return r, false
	case ok && rest[0] == '/':
	case path == "/livez", path == "/readyz", path == "/health", path == "/metrics":
		return r, true
	default:
		rest = "/-" + path // no route has it
	}
	u := *r.URL
	u.Path, u.RawPath = rest, ""
	r = r.WithContext(r.Context())
	r.URL = &u
	return r, true
}
