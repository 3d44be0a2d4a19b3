-- Counts the questions of one turn of a DISC: uses of nonces, guesses and logins. _core/state/sharing.pyx has the
-- layout of the records, of the header before them and of the reply; penalties.pyx has the rules for guesses.
--
-- ARGV[1]  the header and the records; without records it only says whether the state can be written
-- ARGV[2]  "1": they were answered while this server was away, and are only to be known
--
-- Keys; each has a time to live:
--   adb                when this state began, by the clock of a DISC: nonces made before may have been used before
--   adn <made / 8>     hash: nonce and count → mark and time of their use; with a limit also nonce → number of uses
--   adl <time / 600>   hash: users at their sources who logged in
--   adu, ads <hash>    the wrong digests of a user at a source, and of a source
--
-- Uses lie in one hash for eight seconds of nonces, since one key for each costs twice the time and memory. Such a
-- hash is large: it is dropped with UNLINK, which does not block the server as the end of its time to live would.
-- That comes later, for the case that nobody is there to drop it.

local call, sub, unpack_struct, pack = redis.call, string.sub, struct.unpack, struct.pack
local HEADER, RECORD = $HEADER, $RECORD
local USES, LOGINS = 8, 600           -- seconds of a hash
local LATER = 120                     -- seconds in which hashes are dropped before their time to live ends
local BEGAN = 7 * 86400               -- time to live of adb; it is longer than any nonce may be used

local data = ARGV[1]
if #data < HEADER or (#data - HEADER) % RECORD ~= 0 or string.byte(data) ~= $VERSION then
  return redis.error_reply('AUTHDIAMETER these records are of another version: use one version of DISC')
end
local _, now, lifetime, limit = unpack_struct('<I4I4I4I4', data)
local late = ARGV[2] == '1'
local time = call('TIME')
local clock = time[1] * 1000 + math.floor(time[2] / 1000)     -- ms
local stamp = pack('<I4', time[1])
local count = (#data - HEADER) / RECORD

local began = call('GET', 'adb')
if not began or count == 0 then
  began = began or tostring(now)
  call('SET', 'adb', began, 'EX', BEGAN)
end
began = tonumber(began)
if count == 0 then
  return ''
end

-- ---------------------------------------------------------------------------------- reading

-- Drops the hashes of this kind that nobody needs any more. Each says for how long its uses are needed.
local function drop_old(prefix, slot, seconds, lifetime)
  for old = slot - math.ceil((lifetime + LATER) / seconds) - 1, slot - math.ceil(lifetime / seconds) - 1 do
    local name = prefix .. old
    local needed = call('HGET', name, '')
    if needed and (old + 1) * seconds + needed < slot * seconds then
      call('UNLINK', name)
    end
  end
end

-- Gives a hash a time to live, once it is made.
local function keep(prefix, slot, seconds, lifetime)
  call('HSET', prefix .. slot, '', lifetime)
  call('EXPIRE', prefix .. slot, lifetime + seconds + LATER)
  call('EXPIRE', 'adb', BEGAN)
  drop_old(prefix, slot, seconds, lifetime)
end

local kinds, users, sources, fields, marks, made = {}, {}, {}, {}, {}, {}
local asked, slots = {}, {}           -- keys of tallies; slot → the numbers of its records
local NOBODY = string.rep('\0', 8)
for i = 1, count do
  local at = HEADER + (i - 1) * RECORD
  local kind = string.byte(data, at + 1)
  local user, source = sub(data, at + 2, at + 9), sub(data, at + 10, at + 17)
  kinds[i] = kind
  if user ~= NOBODY then
    users[i] = 'adu' .. user
    asked[#asked + 1] = users[i]
    if source ~= NOBODY then
      sources[i] = 'ads' .. source
      asked[#asked + 1] = sources[i]
    end
  end
  if kind % $LOGIN == $RIGHT then
    fields[i] = sub(data, at + 18, at + 37)
    marks[i] = sub(data, at + 38, at + 45)
    made[i] = unpack_struct('<I4', sub(data, at + 46, at + 49))
    local slot = math.floor(made[i] / USES)
    local numbers = slots[slot]
    if not numbers then
      numbers = {}
      slots[slot] = numbers
    end
    numbers[#numbers + 1] = i
  end
end

local uses = {}                       -- field → mark and time
local new_slots = {}
for slot, numbers in pairs(slots) do
  local names = {''}
  for j = 1, #numbers do
    names[j + 1] = fields[numbers[j]]
  end
  local found = call('HMGET', 'adn' .. slot, unpack(names))
  new_slots[slot] = not found[1] or tonumber(found[1]) < lifetime
  for j = 2, #names do
    uses[names[j]] = found[j]
  end
end

local tallies, changed = {}, {}       -- key → tally
if #asked > 0 and (late or call('EXISTS', unpack(asked)) > 0) then
  local found = call('MGET', unpack(asked))
  for j = 1, #asked do
    if found[j] and not tallies[asked[j]] then
      local wrong, delay, ends, forgotten = unpack_struct('<I2I1dd', found[j])
      if wrong == 0 or clock < forgotten then
        tallies[asked[j]] = {wrong = wrong, delay = delay, ends = ends, forgotten = forgotten}
      end
    end
  end
end

-- ---------------------------------------------------------------------------------- the rules for guesses

local function is_penalized(tally)
  -- After a step back of the clock the end is too far ahead and does not count.
  return tally and clock < tally.ends and tally.ends <= clock + $LONGEST * 1000
end

local function add_wrong(key, tries)
  local tally = tallies[key]
  if not tally then
    tally = {wrong = 0, delay = 0, ends = 0, forgotten = 0}
    tallies[key] = tally
  end
  changed[key] = true
  if tally.wrong == 0 then
    tally.forgotten = clock + $WINDOW * 1000
  end
  tally.wrong = math.min(tally.wrong + 1, 65535)
  if tally.wrong >= tries and not is_penalized(tally) then
    tally.delay = tally.delay == 0 and 1 or math.min(2 * tally.delay, $LONGEST)
    tally.ends = clock + tally.delay * 1000
    tally.forgotten = tally.ends + $WINDOW * 1000
  end
end

local function take_one_back(key)
  local tally = tallies[key]
  if tally then
    changed[key] = true
    tally.wrong = math.max(tally.wrong - 1, 0)
    if tally.wrong < $SOURCE_TRIES and not is_penalized(tally) then
      tally.delay = 0
    end
  end
end

local logins = {}                     -- user → true: in this turn
local new_logins = {}

-- Whether a user logged in from there within the hour. A DISC tells of a login once in ten minutes.
local function is_recent(user)
  if logins[user] then
    return true
  end
  local slot = math.floor(time[1] / LOGINS)
  for old = slot, slot - math.ceil(($RECENT + LOGINS) / LOGINS), -1 do
    if call('HEXISTS', 'adl' .. old, sub(user, 4)) == 1 then
      return true
    end
  end
  return false
end

local function log_in(user, source, is_new)
  local tally = tallies[user]
  if source and tallies[source] and not is_recent(user) then
    take_one_back(source)
    is_new = true
  end
  if tally then
    tallies[user] = nil
    changed[user] = true
  end
  if is_new then
    logins[user] = true
    new_logins[#new_logins + 1] = sub(user, 4)
    new_logins[#new_logins + 1] = ''
  end
end

local function standing(tally)
  if not tally then
    return '\0\0\0\0\0'
  end
  local left = is_penalized(tally) and tally.ends - clock or 0
  return pack('<I2I1I2', tally.wrong, tally.delay, math.min(left, 65535))
end

-- ---------------------------------------------------------------------------------- the uses of nonces

local new_uses = {}                   -- slot → fields and values

local function use(i)
  local field = fields[i]
  local seen = uses[field]
  if seen then
    local age = time[1] - unpack_struct('<I4', seen, 9)
    if marks[i] ~= NOBODY and sub(seen, 1, 8) == marks[i] and age >= 0 and age <= $RETRANSMITTED then
      return $IS_AGAIN
    end
    return $IS_REPLAYED
  end
  if made[i] < began and not late then
    return $IS_REPLAYED
  end
  local slot = math.floor(made[i] / USES)
  if limit > 0 then
    local nonce = sub(field, 1, 16)
    if tonumber(call('HGET', 'adn' .. slot, nonce) or 0) >= limit then
      return $IS_EXPIRED
    end
    call('HINCRBY', 'adn' .. slot, nonce, 1)
  end
  seen = marks[i] .. stamp
  uses[field] = seen
  local values = new_uses[slot]
  if not values then
    values = {}
    new_uses[slot] = values
  end
  values[#values + 1] = field
  values[#values + 1] = seen
  return $IS_FIRST
end

-- ---------------------------------------------------------------------------------- the turn

local codes, standings = {}, {}
for i = 1, count do
  local kind, user, source = kinds[i], users[i], sources[i]
  local code
  if not late and user and next(tallies) and (is_penalized(tallies[user])
      or (source and is_penalized(tallies[source]) and not is_recent(user))) then
    code = $IS_PENALIZED
  elseif kind == $WRONG then
    if user then
      if source and not (tallies[user] and tallies[user].wrong > 0) and not is_recent(user) then
        add_wrong(source, $SOURCE_TRIES)
      end
      add_wrong(user, $USER_TRIES)
    end
    code = $IS_WRONG
  elseif kind == $NEITHER then
    code = $IS_NOTHING
  elseif late and made[i] + lifetime < now then
    code = $IS_EXPIRED
  else
    code = use(i)
    if code == $IS_FIRST and user and (kind ~= $RIGHT or next(tallies)) then
      log_in(user, source, kind ~= $RIGHT)
    end
  end
  codes[i] = string.char(code)
  if code == $IS_PENALIZED or code == $IS_WRONG then
    standings[#standings + 1] = standing(tallies[user])
    standings[#standings + 1] = standing(tallies[source])
  end
end

-- ---------------------------------------------------------------------------------- writing

for slot, values in pairs(new_uses) do
  call('HSET', 'adn' .. slot, unpack(values))
  if new_slots[slot] then
    keep('adn', slot, USES, lifetime)
  end
end
if #new_logins > 0 then
  local slot = math.floor(time[1] / LOGINS)
  if call('HSET', 'adl' .. slot, unpack(new_logins)) > 0 and call('HEXISTS', 'adl' .. slot, '') == 0 then
    keep('adl', slot, LOGINS, $RECENT + 2 * LOGINS)
  end
end
for key in pairs(changed) do
  local tally = tallies[key]
  if tally and tally.wrong > 0 then
    local left = math.max(tally.forgotten - clock, 1)
    call('SET', key, pack('<I2I1dd', tally.wrong, tally.delay, tally.ends, tally.forgotten), 'PX', left)
  else
    call('DEL', key)
  end
end
return table.concat(codes) .. table.concat(standings)
