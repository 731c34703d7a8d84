package serve

import "net/http"

// tenant names who asks: prefixes of prompts are shared within a tenant only.
func tenant(*http.Request) string { return "" }
