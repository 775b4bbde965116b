-- Cacheable pictures by GET, closed loop. No two have the same seed, in another run neither, so that each is drawn:
--
--     wrk -t1 -c64 -d10s --timeout 60s -s tools/bench/load/pictures.lua http://127.0.0.1:8080 -- 'steps=4&sampler=ddim'

local query, seed = "", 0
local threads = 0

function setup(thread)
    thread:set("id", threads)
    threads = threads + 1
end

function init(arguments)
    -- Below 2^53: the second in which it began, the thread, and 2^24 requests of it.
    seed = (os.time() % 2 ^ 24) * 2 ^ 29 + id % 2 ^ 5 * 2 ^ 24
    query = arguments[1] and "&" .. arguments[1] or ""
end

function request()
    seed = seed + 1
    return wrk.format("GET", string.format("/v1/samples/%d.png?seed=%.0f%s", seed % 10, seed, query))
end
