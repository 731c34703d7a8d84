//go:build !unix

package hub

import "context"

// lock does nothing where there is no flock: two programs that fetch one file
// at one time may then both download it.
func (c *Client) lock(context.Context, string) (unlock func(), err error) {
	return func() {}, nil
}

func tryLock(string) (unlock func(), ok bool) { return func() {}, true }
