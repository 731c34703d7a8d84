package device

// Freer is a Runner whose memory outside this process has to be given back piece by piece, where the Runner goes on: what
// is given back must not be used again. Runners without it leave their memory to the garbage collector.
type Freer interface {
	Runner
	// FreeWeights gives the memory of weights back. Nil is allowed.
	FreeWeights(ws ...Weight)
	// FreeDoRA gives back what NewDoRA has added to the memory of its weights.
	FreeDoRA(d *DoRA)
	// FreeCache gives the memory of all pages back.
	FreeCache(c KVCache)
}
