//go:build !linux

package device

// makeLarge is make for memory that is streamed through.
func makeLarge[T any](n int) []T { return make([]T, n) }
