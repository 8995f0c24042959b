-- How long rounds take: passes over all sections that are watched.

alter table pickmyclass.look_scheduler
    add column round_began   timestamptz,        -- the round that goes on began then, by the clock that the slots use
    add column round_seconds double precision,   -- how long the last one took
    add column usual_seconds double precision;   -- how long one takes as a rule: a running mean
