-- One payment, one transaction, one round trip. The lower account first, so that no two transactions wait for each other.
\set payer random(1, :payers)
\set payee random(:payers + 1, :payers + :payees)
\startpipeline
BEGIN;
INSERT INTO payments (payer, payee, amount) VALUES (:payer, :payee, 1);
UPDATE accounts SET balance = balance - 1 WHERE id = :payer;
UPDATE accounts SET balance = balance + 1 WHERE id = :payee;
COMMIT;
\endpipeline
