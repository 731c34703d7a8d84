package qmat

// Product is Mul cut into chunks for a pool of workers (package pool's Task):
// set the operands, call Chunks, run Do for each chunk in any order.
type Product struct {
	Dst []float32 // [A.M, LDD]
	LDD int
	W   *Packed
	A   *Acts
	Add bool // add to Dst

	panels, tiles int // per chunk
	across        int // chunks per row of tiles
	streams       int // parts of the panels that chunks take in turns
}

const (
	// What a chunk of a bandwidth-bound product streams: about 10 µs.
	chunkBytes = 192 << 10
	// What the tiles of a chunk may take of the second-level cache, or half of it: see tilesInCache.
	chunkActs = 512 << 10
	// Integer operations of a compute-bound chunk: about 300 µs of one core. Smaller
	// ones would read weights and activations more often from beyond that cache.
	chunkOps = 96 << 20
)

// Chunks cuts the product for a number of workers and returns how many chunks
// there are. The cut changes no result.
func (p *Product) Chunks(workers int) int {
	panels, tiles := p.W.Panels(), p.A.Tiles()
	if panels == 0 || tiles == 0 {
		return 0
	}
	k := max(p.W.Cols, 1)
	p.tiles = min(tiles, tilesInCache(p.W.DType, k))
	// Tiles in equal shares.
	rows := (tiles + p.tiles - 1) / p.tiles
	p.tiles = (tiles + rows - 1) / rows
	if at := tilesAtOnce(p.W.DType); p.tiles > at {
		p.tiles = (p.tiles + at - 1) / at * at
	}
	p.panels = max(1, chunkBytes/max(p.W.panelSize(), 1))
	ops := 2 * PanelRows * min(TileRows*p.tiles, p.A.M) * k
	p.panels = min(p.panels, max(1, chunkOps/ops))
	if workers > 1 {
		// At least four chunks each, so that a slow worker delays nobody.
		p.panels = max(1, min(p.panels, panels*rows/(4*workers)))
	}
	at := panelsAtOnce(p.W.DType, p.A.M)
	p.panels = (p.panels + at - 1) / at * at
	p.across = (panels + p.panels - 1) / p.panels
	// Where memory is the limit, workers take turns, so that each continues with its own stretch
	// of memory, which is being prefetched already.
	p.streams = 1
	if tiles == 1 {
		p.streams = min(workers, p.across)
		p.across = (p.across + p.streams - 1) / p.streams * p.streams
	}
	return p.across * ((tiles + p.tiles - 1) / p.tiles)
}

// Do computes one chunk.
func (p *Product) Do(_, chunk int) {
	at, tile := chunk%p.across, chunk/p.across*p.tiles
	at = at%p.streams*(p.across/p.streams) + at/p.streams
	panel := min(at*p.panels, p.W.Panels()) // past the end where the streams are not equally long
	Mul(p.Dst, p.LDD, p.W, p.A, panel, min(panel+p.panels, p.W.Panels()), tile, min(tile+p.tiles, p.A.Tiles()), p.Add)
}

// Products are several products as one task, such as those that share their
// activations: one hand-over to the pool instead of several. Their destinations
// must not overlap.
type Products struct {
	List  []*Product
	first []int // first chunk of each
}

// Chunks cuts all products and returns the number of chunks together.
func (p *Products) Chunks(workers int) int {
	p.first = p.first[:0]
	n := 0
	for _, q := range p.List {
		p.first = append(p.first, n)
		n += q.Chunks(workers)
	}
	return n
}

// Do computes one chunk.
func (p *Products) Do(worker, chunk int) {
	i := len(p.first) - 1
	for p.first[i] > chunk {
		i--
	}
	p.List[i].Do(worker, chunk-p.first[i])
}
