-- One text for SQLite and PostgreSQL: BIGINT for whole numbers, times in milliseconds since 1970,
-- TEXT for all else. A migration is never changed once released; a new one follows it.

CREATE TABLE setting (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- Numbers that must be taken in the order of commits. Taking one locks it until the commit.
CREATE TABLE counter (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counter (name, value) VALUES ('event', 0);
INSERT INTO counter (name, value) VALUES ('audit', 0);

CREATE TABLE identity (
    id TEXT PRIMARY KEY,
    created_at BIGINT NOT NULL,
    generation BIGINT NOT NULL
);

-- Tokens of older generations, or issued before, are void. Outlives its identity.
CREATE TABLE revocation (
    identity TEXT PRIMARY KEY,
    generation BIGINT NOT NULL,
    at BIGINT NOT NULL
);

CREATE TABLE room (
    id TEXT PRIMARY KEY,
    created_at BIGINT NOT NULL,
    valid_from BIGINT NOT NULL,
    valid_until BIGINT NOT NULL,
    pstn_dial_out BOOLEAN NOT NULL,
    CHECK (valid_until > valid_from)
);

CREATE TABLE room_participant (
    room TEXT NOT NULL REFERENCES room (id) ON DELETE CASCADE,
    raw_id TEXT NOT NULL,
    role TEXT NOT NULL,
    PRIMARY KEY (room, raw_id)
);

-- Answers to requests that may be repeated.
CREATE TABLE repeat (
    key TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    reply TEXT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX repeat_at ON repeat (at);

CREATE TABLE audit (
    position BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    request_id TEXT NOT NULL
);

CREATE TABLE event (
    position BIGINT PRIMARY KEY,
    stream TEXT NOT NULL,
    seq BIGINT NOT NULL,
    kind TEXT NOT NULL,
    at BIGINT NOT NULL,
    data TEXT NOT NULL,
    UNIQUE (stream, seq)
);

CREATE TABLE call_record (
    id TEXT PRIMARY KEY,
    locator TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT
);

CREATE TABLE participation (
    call TEXT NOT NULL REFERENCES call_record (id) ON DELETE CASCADE,
    participant TEXT NOT NULL,
    identity TEXT NOT NULL,
    joined_at BIGINT NOT NULL,
    left_at BIGINT,
    code BIGINT,
    sub_code BIGINT,
    PRIMARY KEY (call, participant)
);

-- How far each webhook has got in the log of events.
CREATE TABLE webhook (
    name TEXT PRIMARY KEY,
    position BIGINT NOT NULL
);

CREATE TABLE dead_letter (
    webhook TEXT NOT NULL,
    position BIGINT NOT NULL,
    at BIGINT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (webhook, position)
);
