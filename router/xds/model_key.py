"""Lua for Envoy: finds the model that a KServe v2 request names, and puts its key into the header x-model.

The key is the name, or name "@" version where the request has a version. In all requests that name a model the name is
field 1 and the version field 2, so one scanner serves all methods. It walks over the top-level fields and skips what
it does not need, so a large tensor is never copied. The last occurrence of a field counts, as protobuf demands.

Model servers that are not the yard's own, such as Triton, know names and numbers of versions alone. So a message that
names an alias, or a version within the name, goes on with the bare name and a number or nothing: fields put behind its
end override those in it. Only such a message is copied, and none larger than 64 MiB; all others pass as they came.
"""

_COMMON = r"""
-- A request leaves a coroutine and some strings behind, and little else is alive: collecting whenever the garbage has
-- doubled, as Lua does by itself, costs more than all that is done here. So it may grow tenfold, to about a megabyte.
collectgarbage("setpause", 1000)

local COMPRESSED = "the message is compressed, so the router cannot read which model it is for: name the model in the "
  .. "header x-model (NAME or NAME@VERSION), or send the message uncompressed"
local MAX_NAME_BYTES = 1024  -- the longest that can be served has 201; a longer one is cut, and so is not found

local function escape(character)
  return string.format("%%%02X", character:byte())
end

local function set_key(handle, name, version)
  local key = name
  if version ~= "" then key = name .. "@" .. version end
  -- Bytes that no key has, and that no header may have, travel percent-encoded.
  if key:find("[^%w@._-]") then key = key:gsub("[^%w@._-]", escape) end
  handle:headers():replace("x-model", key)
  handle:clearRouteCache()
end

local function refuse(handle, sentence)
  handle:respond({[":status"] = "400", ["grpc-status"] = "3"}, sentence)
end
"""

_UNARY = r"""
local WINDOW_BYTES = 256
local MAX_COPIED_BYTES = 64 * 1048576  -- 30 ms of a worker, and memory that Envoy does not know of
local MAX_FIELDS = 20000  -- bounds the time that one message can hold up a worker of Envoy
local byte, char, min, sub = string.byte, string.char, math.min, string.sub

-- The message being scanned: no scan yields, so the requests of a worker do not meet here.
local body, size, window, window_start

local function byte_at(at)
  local found = byte(window, at - window_start + 1)
  if found or at >= size then return found end
  window_start = at
  window = body:getBytes(at, min(WINDOW_BYTES, size - at))
  return byte(window, 1)
end

-- The varint at `at`, and where the next field begins; nil where the message ends in it.
local function varint_at(at)
  local found = byte(window, at - window_start + 1)
  if found and found < 128 then return found, at + 1 end  -- nearly always
  local value, factor = 0, 1
  for next_at = at + 1, at + 10 do
    found = byte_at(next_at - 1)
    if not found then return nil end
    if found < 128 then return value + found * factor, next_at end
    value, factor = value + (found - 128) * factor, factor * 128
  end
  return nil
end

local function text_at(at, length)
  length = min(length, MAX_NAME_BYTES)
  local first = at - window_start + 1
  if first + length - 1 <= #window then return sub(window, first, first + length - 1) end
  if length == 0 then return "" end
  return body:getBytes(at, length)
end

-- Name and version of the message that begins at `at`; nil where it is not a protobuf message.
local function scan(at)
  local name, version, depth = "", "", 0
  for _ = 1, MAX_FIELDS do
    if at == size then
      if depth > 0 then return nil end
      return name, version
    end
    local tag, value, start
    tag, at = varint_at(at)
    if not tag or tag < 8 then return nil end
    local kind = tag % 8
    if kind == 2 then
      value, start = varint_at(at)
      if not value or start + value > size then return nil end
      if depth == 0 and tag == 10 then name = text_at(start, value)
      elseif depth == 0 and tag == 18 then version = text_at(start, value) end
      at = start + value
    elseif kind == 0 then
      value, at = varint_at(at)
      if not value then return nil end
    elseif kind == 5 then at = at + 4
    elseif kind == 1 then at = at + 8
    elseif kind == 3 then depth = depth + 1
    elseif kind == 4 and depth > 0 then depth = depth - 1
    else return nil end
    if at > size then return nil end
  end
  return nil
end

local function text_field(tag, text)
  local length = #text
  if length < 128 then return char(tag, length) .. text end
  return char(tag, length % 128 + 128, math.floor(length / 128)) .. text
end

-- What, put behind the message, makes it name the model as any server knows it; nil where it does already.
local function overriding_fields(name, version)
  if version ~= "" then return version:find("%D") and not name:find("@", 1, true) and text_field(18, "") end
  local bare, part = name:match("^([^@]+)@([^@]+)$")
  if bare then return text_field(10, bare) .. text_field(18, part:find("%D") and "" or part) end
end

local function length_prefix(length)
  local a, b, c = math.floor(length / 16777216), math.floor(length / 65536) % 256, math.floor(length / 256) % 256
  return char(0, a, b, c, length % 256)
end

local function append(handle, fields)
  local length = size - 5 + #fields
  body:setBytes(length_prefix(length) .. body:getBytes(5, size - 5) .. fields)
  local headers = handle:headers()
  if headers:get("content-length") then headers:replace("content-length", tostring(length + 5)) end
end

local GARBAGE = "the message cannot be read as a KServe v2 request: send one gRPC message, one protobuf message in it"

function envoy_on_request(handle)
  body = handle:body()
  size = body and body:length() or 0
  if size < 5 then return refuse(handle, GARBAGE) end
  window_start, window = 0, body:getBytes(0, min(WINDOW_BYTES, size))
  local flag, a, b, c, d = byte(window, 1, 5)
  if flag == 1 then return refuse(handle, COMPRESSED) end
  local length = ((a * 256 + b) * 256 + c) * 256 + d
  if flag ~= 0 or length ~= size - 5 then return refuse(handle, GARBAGE) end
  local name, version = scan(5)
  if not name then return refuse(handle, GARBAGE) end
  local fields = overriding_fields(name, version)
  if fields and size <= MAX_COPIED_BYTES then append(handle, fields) end
  body = nil
  set_key(handle, name, version)
end
"""

_STREAM = r"""
local function last(values)
  if type(values) ~= "table" or #values == 0 then return "" end
  return values[#values]:sub(1, MAX_NAME_BYTES)
end

function envoy_on_request(handle)
  local found = handle:streamInfo():dynamicMetadata():get("envoy.filters.http.grpc_field_extraction") or {}
  set_key(handle, last(found.model_name), last(found.model_version))
end
"""

MODEL_KEY_LUA = _COMMON + _UNARY
"""For unary requests: waits for the whole message."""

STREAM_KEY_LUA = _COMMON + _STREAM
"""For streams, after Envoy's own extraction of fields of the first message."""
