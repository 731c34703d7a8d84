//go:build !linux

// Package largepage allocates memory that asks the system for large pages where Leo knows how: on Linux.
package largepage

// Make is make for memory that is read in streams.
func Make[T any](n int) []T { return make([]T, n) }
