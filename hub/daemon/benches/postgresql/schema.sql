-- Payments as plain rows, and the balances that they change.
CREATE TABLE accounts (id integer PRIMARY KEY, balance bigint NOT NULL);
CREATE TABLE payments (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    payer integer NOT NULL,
    payee integer NOT NULL,
    amount bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION pay_many(batch integer, payers integer, payees integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    payer_id integer;
    payee_id integer;
BEGIN
    FOR i IN 1..batch LOOP
        payer_id := 1 + floor(random() * payers);
        payee_id := payers + 1 + floor(random() * payees);
        INSERT INTO payments (payer, payee, amount) VALUES (payer_id, payee_id, 1);
        UPDATE accounts SET balance = balance - 1 WHERE id = payer_id;
        UPDATE accounts SET balance = balance + 1 WHERE id = payee_id;
    END LOOP;
END
$$;
