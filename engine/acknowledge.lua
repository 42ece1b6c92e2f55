-- ipledger: give a connection something to wait for, version 1. WAIT follows it on the connection.
--
-- KEYS[1]  the stream                          KEYS[2]  a key that is there for an instant only
-- ARGV[1]  id of the last entry that an answer rests on         ARGV[2]  its field c
--
-- Returns "ok" or "diverged". Servers differ in what a connection waits for that has only read, so
-- it writes: a replica that has this has all that stood in the stream before. Nothing stays of it.
local known = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not known or known[2][8] ~= ARGV[2] then return 'diverged' end
redis.call('SET', KEYS[2], '')
redis.call('DEL', KEYS[2])
return 'ok'
