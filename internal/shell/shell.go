// Package shell owns words of POSIX shells: how any text becomes one in a script that Leo writes.
package shell

import "strings"

// plain are the characters that no shell takes for anything else, inside a word.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-=,:%+"

// Quote makes one word of any text without zero bytes. Batch schedulers read a word without control characters alike in
// the header of a script.
func Quote(s string) string {
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
