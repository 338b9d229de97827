//! Which packet may go where, until when. Pure: no sockets are touched here.

pub mod bucket;
pub mod budget;
pub mod protection;
pub mod relay;
pub mod table;
