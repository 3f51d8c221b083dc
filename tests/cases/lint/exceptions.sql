-- squawk-ignore ban-drop-column
ALTER TABLE users DROP COLUMN a;
ALTER TABLE users DROP COLUMN b;
/* squawk-ignore renaming-table, renaming-column */
ALTER TABLE users RENAME TO people;
-- squawk-ignore-file ban-drop-table
DROP TABLE orders;
-- squawk-ignore no-such-rule
DROP TABLE items;
