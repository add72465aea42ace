// Package seal encrypts what is secret where it rests: AES-256-GCM under the keys of
// ENCRYPTION_KEY, of which the first one seals and all open.
//
// What is sealed is
//
//	mark (1 byte)  key id (4)  nonce (12, random)  ciphertext  tag (16)
//
// and bound to its place: the table and column, and the saga whose it is, are associated data,
// so that what was moved elsewhere does not open. The key id says which key it needs, to whoever
// rotates keys and to nobody else; it is derived from the key, and tells nothing about it.
//
// Random nonces allow some four billion values for a key (2^32: then two of them have had
// the same nonce with a chance of one in four billion). Keys are to be rotated long before;
// `esimctl keys status` counts.
package seal
