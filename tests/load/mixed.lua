-- A mixed load for wrk: POSTs and GETs of several sizes, samplers and step counts, one invalid request in ten.
--
--     wrk -t2 -c32 -d60s --timeout 30s -s tests/load/mixed.lua http://127.0.0.1:8080
--
-- Prints how many answers had each status; anything but 200 and 400 is a failure.

local counts = {}
local threads = {}

function setup(thread)
    thread:set("id", #threads)
    table.insert(threads, thread)
end

function init(_)
    math.randomseed(id + 1)
    statuses = ""
    seen = {}
end

local function post(body)
    return wrk.format("POST", "/v1/samples", { ["Content-Type"] = "application/json" }, body)
end

function request()
    local kind = math.random(10)
    local seed = math.random(1000000)
    if kind <= 4 then
        return post(string.format('{"label":%d,"seed":%d,"steps":5}', math.random(0, 9), seed))
    elseif kind <= 6 then
        return wrk.format("GET", string.format("/v1/samples/%d.png?seed=%d&steps=4&sampler=ddim&guidance_scale=1",
                                               math.random(0, 9), seed))
    elseif kind == 7 then
        return post(string.format('{"labels":[1,2,3],"n":2,"seed":%d,"steps":10,"sampler":"ddpm"}', seed))
    elseif kind == 8 then
        return post(string.format('{"label":"seven","seed":%d}', seed))
    elseif kind == 9 then
        return wrk.format("GET", "/v1/models")
    end
    return post('{"label":10}')
end

function response(status, _, _)
    seen[status] = (seen[status] or 0) + 1
    statuses = ""
    for code, n in pairs(seen) do
        statuses = statuses .. code .. "=" .. n .. " "
    end
end

function done(summary, _, _)
    for _, thread in ipairs(threads) do
        for code, n in thread:get("statuses"):gmatch("(%d+)=(%d+)") do
            counts[code] = (counts[code] or 0) + tonumber(n)
        end
    end
    for code, n in pairs(counts) do
        print("status " .. code .. ": " .. n)
    end
    local e = summary.errors
    print(string.format("socket errors: connect %d, read %d, write %d, timeout %d", e.connect, e.read,
                        e.write, e.timeout))
end
