//! The plans that several measurements share.

pub const USERS: &str = "plan: customer
subject:
  user_id: shop.users.id
connections:
  shop:
    users:
      erase: delete
";

pub const USERS_AND_VISITS: &str = "plan: customer
subject:
  user_id: shop.users.id
connections:
  shop:
    users:
      erase: delete
    visits:
      match: { user_id: users.id }
      erase: delete
";
