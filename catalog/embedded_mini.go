//go:build !nomodel

package catalog

import leomini "leolm/models/leo-mini"

// embedded holds the models inside the binary, by name.
var embedded = map[string][]byte{DefaultName: leomini.GGUF}
