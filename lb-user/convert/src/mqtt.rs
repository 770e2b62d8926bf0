//! `mqtt_is_valid` and `mqtt_field_value`: the first packets of MQTT 3.1, 3.1.1 and 5.0, CONNECT and CONNACK.

use std::sync::Arc;

use sockeye_sample::{Arg, Converter, Scene, Value};

pub(crate) static TABLE: &[Converter] = &[
    Converter::new("mqtt_field_value", field_value).prepare(|args, _| prepare(args)),
    Converter::new("mqtt_is_valid", is_valid),
];

const VERSION_3_1: u8 = 3;
const VERSION_5: u8 = 5;
/// The packet's types as they stand in its first byte.
const CONNECT: u8 = 1;
const CONNACK: u8 = 2;

/// Packet types by number; fields exist of the first two alone.
const TYPES: [&str; 15] = [
    "connect",
    "connack",
    "publish",
    "puback",
    "pubrec",
    "pubrel",
    "pubcomp",
    "subscribe",
    "suback",
    "unsubscribe",
    "unsuback",
    "pingreq",
    "pingresp",
    "disconnect",
    "auth",
];

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Flags,
    ProtocolName,
    ProtocolVersion,
    ClientIdentifier,
    WillTopic,
    WillPayload,
    UserName,
    Password,
    KeepAlive,
    ReasonCode,
    /// A property of version 5.
    Property(u8),
}

const CONNECT_FIELDS: [(&str, Field); 9] = [
    ("flags", Field::Flags),
    ("protocol_name", Field::ProtocolName),
    ("protocol_version", Field::ProtocolVersion),
    ("client_identifier", Field::ClientIdentifier),
    ("will_topic", Field::WillTopic),
    ("will_payload", Field::WillPayload),
    ("username", Field::UserName),
    ("password", Field::Password),
    ("keepalive", Field::KeepAlive),
];
const CONNACK_FIELDS: [(&str, Field); 3] = [
    ("flags", Field::Flags),
    ("protocol_version", Field::ProtocolVersion),
    ("reason_code", Field::ReasonCode),
];

/// Repeatable, and not to be asked for.
const USER_PROPERTY: u8 = 38;
const AUTHENTICATION_METHOD: u8 = 21;
const AUTHENTICATION_DATA: u8 = 22;

/// Properties of CONNECT, of its will, and of CONNACK (MQTT 5.0, section 2.2.2.2).
const CONNECT_PROPERTIES: [u8; 9] = [17, 33, 39, 34, 25, 23, USER_PROPERTY, 21, 22];
const WILL_PROPERTIES: [u8; 7] = [24, 1, 2, 3, 8, 9, USER_PROPERTY];
const CONNACK_PROPERTIES: [u8; 17] =
    [17, 33, 36, 37, 39, 18, 34, 31, USER_PROPERTY, 40, 41, 42, 19, 26, 28, 21, 22];

/// Both arguments.
#[derive(Debug)]
struct Wanted {
    packet: u8,
    field: Field,
}

fn prepare(args: &mut [Arg]) -> Result<(), String> {
    let text =
        |index: usize| args.get(index).and_then(Arg::str).map(String::from_utf8_lossy).unwrap_or_default();
    let (packet_text, field_text) = (text(0), text(1));
    let by_name =
        TYPES.iter().position(|name| name.eq_ignore_ascii_case(&packet_text)).map(|index| index + 1);
    let number = by_name.or_else(|| packet_text.parse().ok()).and_then(|number| u8::try_from(number).ok());
    let Some(packet) = number.filter(|number| (1..=15).contains(number)) else {
        return Err(format!("Unknown MQTT type '{packet_text}'"));
    };
    let (fields, properties): (&[(&str, Field)], Vec<u8>) = match packet {
        CONNECT => (&CONNECT_FIELDS, [&CONNECT_PROPERTIES[..], &WILL_PROPERTIES].concat()),
        CONNACK => (&CONNACK_FIELDS, CONNACK_PROPERTIES.to_vec()),
        _ => (&[], Vec::new()),
    };
    let named =
        fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(&field_text)).map(|(_, field)| *field);
    let property = || field_text.parse().ok().filter(|id| properties.contains(id)).map(Field::Property);
    let Some(field) = named.or_else(property) else {
        return Err(format!("Unknown MQTT field name '{field_text}' for packet type '{packet_text}'"));
    };
    let wanted = Wanted { packet, field };
    args[0] = Arg::Prepared(Arc::new(wanted));
    Ok(())
}

fn is_valid<'a>(value: Value<'a>, _: &'a [Arg], scene: &Scene<'a>) -> Option<Value<'a>> {
    match Packet::parse(value.bytes()?) {
        Ok(_) => Some(Value::Bool(true)),
        Err(Fault::Invalid) => Some(Value::Bool(false)),
        Err(Fault::Incomplete) => {
            scene.wait();
            None
        }
    }
}

fn field_value<'a>(value: Value<'a>, args: &'a [Arg], scene: &Scene<'a>) -> Option<Value<'a>> {
    let wanted = args.first()?.prepared::<Wanted>()?;
    match Packet::parse(value.bytes()?) {
        Ok(packet) if packet.kind == wanted.packet => packet.field(wanted.field),
        Ok(_) | Err(Fault::Invalid) => None,
        Err(Fault::Incomplete) => {
            scene.wait();
            None
        }
    }
}

/// Why bytes are no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Incomplete,
    Invalid,
}

/// A packet whose every part was checked.
#[derive(Debug, Default)]
struct Packet<'a> {
    kind: u8,
    version: u8,
    flags: u8,
    reason: u8,
    keep_alive: u16,
    name: &'a [u8],
    client: &'a [u8],
    will_topic: &'a [u8],
    will_payload: &'a [u8],
    user: &'a [u8],
    password: &'a [u8],
    /// At most one of each, but for those of the user, which are left out.
    properties: Vec<(u8, Property<'a>)>,
}

#[derive(Debug, Clone, Copy)]
enum Property<'a> {
    Number(u32),
    Bytes(&'a [u8]),
}

impl<'a> Packet<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        let [first, rest @ ..] = bytes else { return Err(Fault::Incomplete) };
        if rest.is_empty() {
            return Err(Fault::Incomplete);
        }
        let mut cursor = Cursor { rest };
        let length = cursor.length().ok_or(Fault::Invalid)?;
        let body = cursor.rest.get(..length).ok_or(Fault::Incomplete)?;
        let mut cursor = Cursor { rest: body };
        // The low four bits are reserved in both types of packet.
        let packet = match (first >> 4, first & 0xf) {
            (CONNECT, 0) => Self::connect(&mut cursor),
            (CONNACK, 0) => Self::connack(&mut cursor, length),
            _ => None,
        };
        packet.filter(|_| cursor.rest.is_empty()).ok_or(Fault::Invalid)
    }

    /// MQTT 3.1.1 and 5.0, section 3.1.
    fn connect(cursor: &mut Cursor<'a>) -> Option<Self> {
        let name = cursor.bytes()?;
        let known = name.eq_ignore_ascii_case(b"MQTT") || name.eq_ignore_ascii_case(b"MQIsdp");
        let (version, flags) = (cursor.byte()?, cursor.byte()?);
        if !known || !(VERSION_3_1..=VERSION_5).contains(&version) || flags & 1 != 0 {
            return None;
        }
        let mut packet =
            Self { kind: CONNECT, name, version, flags, keep_alive: cursor.number16()?, ..Self::default() };
        if version == VERSION_5 {
            packet.take_properties(cursor, &CONNECT_PROPERTIES)?;
        }
        packet.client = cursor.bytes()?;
        if flags & 0x04 != 0 {
            if version == VERSION_5 {
                packet.take_properties(cursor, &WILL_PROPERTIES)?;
            }
            packet.will_topic = cursor.bytes()?;
            packet.will_payload = cursor.bytes()?;
        }
        if flags & 0x80 != 0 {
            packet.user = cursor.bytes()?;
        }
        if flags & 0x40 != 0 {
            packet.password = cursor.bytes()?;
        }
        packet.consistent()
    }

    /// MQTT 3.1.1 and 5.0, section 3.2: only the length tells which of them it is.
    fn connack(cursor: &mut Cursor<'a>, length: usize) -> Option<Self> {
        let (flags, reason) = (cursor.byte()?, cursor.byte()?);
        if flags > 1 {
            return None;
        }
        let version = if length == 2 { 4 } else { VERSION_5 };
        let mut packet = Self { kind: CONNACK, version, flags, reason, ..Self::default() };
        if version == VERSION_5 {
            packet.take_properties(cursor, &CONNACK_PROPERTIES)?;
        }
        packet.consistent()
    }

    /// Data of authentication make no sense without its method.
    fn consistent(self) -> Option<Self> {
        let has = |wanted: u8| self.properties.iter().any(|(id, _)| *id == wanted);
        (has(AUTHENTICATION_METHOD) || !has(AUTHENTICATION_DATA)).then_some(self)
    }

    fn take_properties(&mut self, cursor: &mut Cursor<'a>, allowed: &[u8]) -> Option<()> {
        let length = cursor.length()?;
        let mut cursor = Cursor { rest: cursor.take(length)? };
        while let Some(id) = cursor.byte() {
            let repeated = self.properties.iter().any(|(known, _)| *known == id);
            if !allowed.contains(&id) || repeated {
                return None;
            }
            if let Some(property) = cursor.property(id)? {
                self.properties.push((id, property));
            }
        }
        Some(())
    }

    /// As text or bytes; what is empty is not there.
    fn field(&self, field: Field) -> Option<Value<'static>> {
        let number = |number: u32| Some(Value::string(number.to_string()));
        let bytes = |bytes: &[u8]| (!bytes.is_empty()).then(|| Value::binary(bytes));
        match field {
            Field::Flags => number(self.flags.into()),
            Field::ProtocolName => bytes(self.name),
            Field::ProtocolVersion => number(self.version.into()),
            Field::ClientIdentifier => bytes(self.client),
            Field::WillTopic => bytes(self.will_topic),
            Field::WillPayload => bytes(self.will_payload),
            Field::UserName => bytes(self.user),
            Field::Password => bytes(self.password),
            Field::KeepAlive => number(self.keep_alive.into()),
            Field::ReasonCode => number(self.reason.into()),
            Field::Property(id) => match self.properties.iter().find(|(known, _)| *known == id)?.1 {
                Property::Number(value) => number(value),
                Property::Bytes(value) => bytes(value),
            },
        }
    }
}

/// What is left of a packet.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*bytes)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn number16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn number32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// Two bytes of length and what they count.
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.number16()?;
        self.take(length.into())
    }

    /// Seven bits per byte, the lowest first, four bytes at most.
    fn length(&mut self) -> Option<usize> {
        let mut length = 0;
        for at in 0..4 {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Some(length);
            }
        }
        None
    }

    /// The value of property `id` (MQTT 5.0, section 2.2.2.2): `None` if it is wrong, `Some(None)` for the user's own.
    fn property(&mut self, id: u8) -> Option<Option<Property<'a>>> {
        Some(Some(match id {
            // Switches.
            1 | 23 | 25 | 36 | 37 | 40 | 41 | 42 => {
                Property::Number(self.byte().filter(|value| *value <= 1)?.into())
            }
            33 => Property::Number(self.number16().filter(|value| *value != 0)?.into()),
            19 | 34 => Property::Number(self.number16()?.into()),
            39 => Property::Number(self.number32().filter(|value| *value != 0)?),
            2 | 17 | 24 => Property::Number(self.number32()?),
            USER_PROPERTY => {
                self.bytes()?;
                self.bytes()?;
                return Some(None);
            }
            _ => Property::Bytes(self.bytes()?),
        }))
    }
}
