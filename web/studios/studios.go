// Package studios lets people into Studios: each has an origin of its own, on which a member with a grant is joined with the
// Studio's tool through the tunnel of its agent.
package studios
