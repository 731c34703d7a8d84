//go:build !nomodel

// Package leomini holds the weights of leo-mini, the model inside leo. Build with the tag nomodel to leave them out.
package leomini

import _ "embed"

// GGUF is the model file: q8_0 weights, vocabulary, chat template.
//
//go:embed leo-mini.gguf
var GGUF []byte
