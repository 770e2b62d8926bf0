//! One byte channel, client or server side: socket, addresses, pooled buffers
