//go:build !linux && !darwin

package cpu

import "os"

func mapFile(string) ([]byte, error)                { return nil, errNoStore }
func mapRange(*os.File, int64, int) ([]byte, error) { return nil, errNoStore }
func reserve(*os.File, int64, int64) error          { return errNoStore }
func unmap([]byte)                                  {}
