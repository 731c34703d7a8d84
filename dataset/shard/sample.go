package shard

import "leolm/chat"

// Sample is one dialogue as the model sees it, an id and a role per token, or
// one window of a packed corpus.
type Sample struct {
	IDs []int32
	// Roles are the chat.Role of the turn each token belongs to, plus Frame where
	// a template marks what is generated and the token is not, plus Muted in a
	// turn that carries no loss; nil: plain text.
	Roles []uint8
	// Docs are the positions where documents begin, ascending, the first 0;
	// nil: the sample is one document.
	Docs []int32
}

// What shards add to a token's role where it carries less loss than its role says.
const (
	// Frame is of a token of the assistant that its template leaves outside
	// of {% generation %}: only where every token carries loss it does.
	Frame uint8 = 8
	// Muted is of a turn with weight 0: it never carries loss.
	Muted uint8 = 16
)

// RoleOf is the role itself.
func RoleOf(b uint8) chat.Role { return chat.Role(b & (Frame - 1)) }

// Set is an ordered collection of samples that training draws from. Reading
// is safe from several goroutines.
type Set interface {
	Len() int            // number of samples
	Length(i int) int    // number of ids of sample i, without reading it
	Sample(i int) Sample // a copy; i in [0, Len())
}
