//go:build nomodel

package catalog

// embedded is empty: this build leaves the models out.
var embedded map[string][]byte
