-- Sample data of docker-compose.yml: 1,000 made-up people; number 42 is jane@example.com.
CREATE TABLE addresses (id bigint PRIMARY KEY, street text NOT NULL, city text NOT NULL);
CREATE TABLE users (
    id bigint PRIMARY KEY,
    email text NOT NULL UNIQUE,
    password_hash text NOT NULL,
    name text NOT NULL,
    phone text,
    address_id bigint REFERENCES addresses (id)
);
CREATE TABLE orders (
    id bigint PRIMARY KEY,
    user_id bigint REFERENCES users (id),
    name text NOT NULL,
    email text NOT NULL,
    placed_at timestamptz NOT NULL,
    total_cents bigint NOT NULL
);
CREATE TABLE order_items (
    id bigint PRIMARY KEY,
    order_id bigint NOT NULL REFERENCES orders (id),
    product text NOT NULL,
    cents bigint NOT NULL
);
CREATE TABLE comments (
    id bigint PRIMARY KEY,
    user_id bigint NOT NULL REFERENCES users (id),
    parent_id bigint REFERENCES comments (id),
    body text NOT NULL
);
CREATE INDEX ON users (address_id);
CREATE INDEX ON orders (user_id);
CREATE INDEX ON order_items (order_id);
CREATE INDEX ON comments (user_id);
CREATE INDEX ON comments (parent_id);

-- Numbers 43 and 42 share an address.
INSERT INTO addresses SELECT n, n || ' Sample Street', 'Lisbon' FROM generate_series(1, 1000) n WHERE n <> 43;
INSERT INTO users
SELECT n, CASE n WHEN 42 THEN 'jane@example.com' ELSE 'person' || n || '@example.com' END, md5(n::text),
       CASE n WHEN 42 THEN 'Jane Miller' ELSE 'Person ' || n END, '+49 ' || (1000000 + n),
       CASE n WHEN 43 THEN 42 ELSE n END
FROM generate_series(1, 1000) n;
INSERT INTO orders
SELECT n, u.id, u.name, u.email, timestamptz '2026-01-01 12:00+00' + n * interval '1 hour', n % 20000
FROM generate_series(1, 5000) n JOIN users u ON u.id = 1 + n % 1000;
INSERT INTO order_items SELECT n, 1 + n % 5000, 'lamp', n % 9000 FROM generate_series(1, 15000) n;
INSERT INTO comments
SELECT n, 1 + n % 1000, CASE WHEN n % 3 = 0 AND n > 500 THEN n - 500 END, 'About the lamp'
FROM generate_series(1, 20000) n;
