-- `batch` payments in one transaction of one writer, a statement for each row: what a hub does with a group commit.
SELECT pay_many(:batch, :payers, :payees);
