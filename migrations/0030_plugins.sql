-- What a program makes comes of no fetched files.
ALTER TABLE release_recipe ALTER COLUMN artifact DROP NOT NULL;

-- Which of the application's clusters get the component; null = all of them.
ALTER TABLE release_recipe ADD COLUMN destination jsonb NOT NULL DEFAULT 'null';
