-- What a baseline keeps beside the facts for the next comparison (see shared.sections.section.Memory), whether somebody is
-- named, which only the comparison can tell, and what the guard against lost names counts of a slot's checks.

alter table pickmyclass.section_checks
    add column memory    jsonb not null default '{}',
    add column named     boolean not null default false,
    add column had_name  boolean not null default false,
    add column lost_name boolean not null default false;
update pickmyclass.section_checks c set named = true
where lower(btrim(coalesce(c.instructor_name, ''))) not in ('', 'staff');
