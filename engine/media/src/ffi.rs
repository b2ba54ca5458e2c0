//! The one file with `unsafe` in it: the few corners of ffmpeg that `ffmpeg-next` does not wrap.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::env;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::{Once, OnceLock};

use ffmpeg_next::packet::Ref as _;
use ffmpeg_next::software::scaling;
use ffmpeg_next::util::interrupt::{self, InterruptGuard};
use ffmpeg_next::{Dictionary, Error, Packet, codec, ffi, format};
use libloading::Library;

use crate::interrupt::Interrupt;
use crate::parameters::{CodecParameters, Medium, ParametersError};

thread_local! {
    /// The last error that ffmpeg logged on this thread.
    static LAST_LOG: RefCell<Option<String>> = const { RefCell::new(None) };
    /// All that ffmpeg says on this thread, while somebody listens.
    static LISTING: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Registers ffmpeg's parts and takes its log off stderr; does so once, however often it is called.
pub(crate) fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Fails with no version of ffmpeg that exists.
        let _ = ffmpeg_next::init();
        // SAFETY: `keep_log` has the callback's signature and may be called from any thread.
        unsafe { ffi::av_log_set_callback(Some(keep_log)) };
    });
}

/// Loads libavdevice, and with it the capture devices; does so once. It brings 80 libraries of windowing, sound and
/// filters, which would take every start of a program 40 ms. Tells the library and why it could not be loaded.
pub(crate) fn load_devices() -> Result<(), (String, String)> {
    static LOADED: OnceLock<Result<Library, (String, String)>> = OnceLock::new();
    let load = || {
        // SAFETY: reads a constant of the library.
        let major = unsafe { ffi::avformat_version() } >> 16;
        // Both have had the same major version since ffmpeg 4, and the name of the file tells it.
        let name = match env::consts::OS {
            "macos" => format!("libavdevice.{major}.dylib"),
            "windows" => format!("avdevice-{major}.dll"),
            _ => format!("libavdevice.so.{major}"),
        };
        // SAFETY: the initialisers of ffmpeg's own library, which uses the libavformat that is loaded already;
        // `avdevice_register_all` has this signature in all versions. The library is never unloaded.
        let loaded = unsafe {
            Library::new(&name).and_then(|library| {
                library
                    .get::<unsafe extern "C" fn()>(b"avdevice_register_all\0")
                    .map(|register| register())?;
                Ok(library)
            })
        };
        loaded.map_err(|cause| (name, cause.to_string()))
    };
    LOADED.get_or_init(load).as_ref().map(drop).map_err(Clone::clone)
}

/// Returns all that ffmpeg says on this thread during some work.
pub(crate) fn listen(work: impl FnOnce()) -> String {
    LISTING.replace(Some(String::new()));
    work();
    LISTING.take().unwrap_or_default()
}

/// Takes the last error that ffmpeg logged on this thread.
pub(crate) fn take_last_log() -> Option<String> {
    LAST_LOG.take()
}

/// What C's `va_list` becomes as a parameter: an array there decays to a pointer.
#[cfg(target_arch = "x86_64")]
type Arguments = *mut ffi::__va_list_tag;
#[cfg(not(target_arch = "x86_64"))]
type Arguments = ffi::va_list;

unsafe extern "C" fn keep_log(class: *mut c_void, level: c_int, format: *const c_char, arguments: Arguments) {
    let listens = LISTING.try_with(|listing| listing.borrow().is_some()).unwrap_or(false);
    if level > if listens { ffi::AV_LOG_INFO } else { ffi::AV_LOG_ERROR } {
        return;
    }
    let mut line = [0; 512];
    let mut prefix = 0;
    // SAFETY: the first four are what ffmpeg handed over; `line` has the size told and is always terminated.
    let line = unsafe {
        let size = line.len() as c_int;
        ffi::av_log_format_line2(class, level, format, arguments, line.as_mut_ptr(), size, &raw mut prefix);
        CStr::from_ptr(line.as_ptr()).to_string_lossy()
    };
    let _ = LISTING.try_with(|listing| listing.borrow_mut().iter_mut().for_each(|told| told.push_str(&line)));
    let line = line.trim().replace(char::is_control, " ");
    if !line.is_empty() && level <= ffi::AV_LOG_ERROR {
        // Not kept while the thread is being torn down.
        let _ = LAST_LOG.try_with(|last| last.replace(Some(line)));
    }
}

/// An input or output, with the closure that ffmpeg asks whether to stop.
pub(crate) struct Interruptible<T> {
    // Before the guard, so that it is closed while its callback is still there.
    pub(crate) context: T,
    _guard: Option<InterruptGuard>,
}

impl<T> Interruptible<T> {
    /// Wraps a context whose reads and writes look at the interrupt by themselves.
    pub(crate) fn without_callback(context: T) -> Self {
        Self { context, _guard: None }
    }
}

/// Opens an input, by a named format or by what ffmpeg recognises; `DemuxerNotFound` when there is no such format.
pub(crate) fn open_input(
    url: &str,
    format: Option<&str>,
    options: Dictionary<'_>,
    stop: &Interrupt,
) -> Result<format::context::Input, Error> {
    let url = c_string(url)?;
    let format = format.map(c_string).transpose()?;
    let stop = stop.clone();
    let callback = interrupt::new(Box::new(move || stop.is_set()));
    // SAFETY: the strings outlive the calls; the context is closed on every failing way (`avformat_open_input` frees
    // it by itself), and the guard lives in the returned value as long as the context.
    unsafe {
        let mut demuxer = ptr::null();
        if let Some(format) = &format {
            demuxer = ffi::av_find_input_format(format.as_ptr());
            if demuxer.is_null() {
                return Err(Error::DemuxerNotFound);
            }
        }
        let mut context = ffi::avformat_alloc_context();
        if context.is_null() {
            return Err(Error::Other { errno: ffmpeg_next::error::ENOMEM });
        }
        (*context).interrupt_callback = callback.interrupt;
        let mut options = options.disown();
        let opened =
            ffi::avformat_open_input(&raw mut context, url.as_ptr(), demuxer.cast_mut(), &raw mut options);
        drop(Dictionary::own(options));
        if opened < 0 {
            return Err(Error::from(opened));
        }
        let input = format::context::Input::wrap_with_interrupt(context, callback.guard);
        match ffi::avformat_find_stream_info(context, ptr::null_mut()) {
            found if found < 0 => Err(Error::from(found)),
            _ => Ok(input),
        }
    }
}

/// Returns the name of the format that fits a file's name.
pub(crate) fn format_by_name(file: &str) -> Option<String> {
    let file = c_string(file).ok()?;
    // SAFETY: the string outlives the call; the muxer found is static.
    unsafe {
        let muxer = ffi::av_guess_format(ptr::null(), file.as_ptr(), ptr::null());
        // A name may have synonyms behind commas.
        (!muxer.is_null()).then(|| text((*muxer).name).split(',').next().unwrap_or_default().to_owned())
    }
}

/// Returns whether there is an output format of that name.
pub(crate) fn format_exists(format: &str) -> bool {
    c_string(format).is_ok_and(|format| {
        // SAFETY: the string outlives the call.
        unsafe { !ffi::av_guess_format(format.as_ptr(), ptr::null(), ptr::null()).is_null() }
    })
}

/// Opens an output of a named format; `MuxerNotFound` when there is no such format.
pub(crate) fn open_output(
    url: &str,
    format: &str,
    stop: &Interrupt,
) -> Result<Interruptible<format::context::Output>, Error> {
    let (url, format) = (c_string(url)?, c_string(format)?);
    let stop = stop.clone();
    let callback = interrupt::new(Box::new(move || stop.is_set()));
    // SAFETY: the strings outlive the calls; `Output` owns the context from `wrap` on and closes it on every way out,
    // before the guard (`Interruptible`).
    unsafe {
        let muxer = ffi::av_guess_format(format.as_ptr(), ptr::null(), ptr::null());
        if muxer.is_null() {
            return Err(Error::MuxerNotFound);
        }
        let mut context = ptr::null_mut();
        let made = ffi::avformat_alloc_output_context2(
            &raw mut context,
            muxer.cast_mut(),
            ptr::null(),
            url.as_ptr(),
        );
        if made < 0 {
            return Err(Error::from(made));
        }
        (*context).interrupt_callback = callback.interrupt;
        let output =
            Interruptible { context: format::context::Output::wrap(context), _guard: Some(callback.guard) };
        if (*muxer).flags & ffi::AVFMT_NOFILE == 0 {
            let (io, flags) = (&raw mut (*context).pb, ffi::AVIO_FLAG_WRITE);
            let interrupt = &raw const (*context).interrupt_callback;
            let opened = ffi::avio_open2(io, url.as_ptr(), flags, interrupt, ptr::null_mut());
            if opened < 0 {
                return Err(Error::from(opened));
            }
        }
        Ok(output)
    }
}

/// Reads what `AVCodecParameters` holds; `UnknownCodec` when ffmpeg recognised no codec.
pub(crate) fn read_parameters(from: &codec::Parameters) -> Result<CodecParameters, ParametersError> {
    // SAFETY: `from` holds a valid pointer for the whole call. Enumerations are read as the integers that C takes them
    // for, since a newer library may hold values that the bindings do not list. `extradata` has `extradata_size` bytes.
    unsafe {
        let par = from.as_ptr();
        let medium = match from.medium() {
            ffmpeg_next::media::Type::Video => Medium::Video,
            ffmpeg_next::media::Type::Audio => Medium::Audio,
            _ => Medium::Subtitle,
        };
        let descriptor = ffi::avcodec_descriptor_get((*par).codec_id);
        if descriptor.is_null() {
            return Err(ParametersError::UnknownCodec(String::new()));
        }
        let format = format_name(medium, (*par).format);
        let extradata = match usize::try_from((*par).extradata_size) {
            Ok(size) if !(*par).extradata.is_null() => {
                std::slice::from_raw_parts((*par).extradata, size).to_vec()
            }
            _ => Vec::new(),
        };
        let small = |value: i32| u8::try_from(value).unwrap_or(0);
        let count = |value: i32| u32::try_from(value).unwrap_or(0);
        let order = (&raw const (*par).ch_layout.order).cast::<i32>().read();
        let native = order == ffi::AVChannelOrder::AV_CHANNEL_ORDER_NATIVE as i32;
        Ok(CodecParameters {
            medium,
            codec: text((*descriptor).name),
            tag: (*par).codec_tag,
            extradata,
            format,
            bit_rate: (*par).bit_rate.max(0),
            bits_per_coded_sample: small((*par).bits_per_coded_sample),
            bits_per_raw_sample: small((*par).bits_per_raw_sample),
            profile: (*par).profile,
            level: (*par).level,
            width: u16::try_from((*par).width).unwrap_or(0),
            height: u16::try_from((*par).height).unwrap_or(0),
            sample_aspect_ratio: ratio((*par).sample_aspect_ratio.num, (*par).sample_aspect_ratio.den),
            field_order: small((&raw const (*par).field_order).cast::<i32>().read()),
            color_range: small((&raw const (*par).color_range).cast::<i32>().read()),
            color_primaries: small((&raw const (*par).color_primaries).cast::<i32>().read()),
            color_transfer: small((&raw const (*par).color_trc).cast::<i32>().read()),
            color_space: small((&raw const (*par).color_space).cast::<i32>().read()),
            chroma_location: small((&raw const (*par).chroma_location).cast::<i32>().read()),
            video_delay: small((*par).video_delay),
            channels: small((*par).ch_layout.nb_channels),
            channel_mask: if native { (*par).ch_layout.u.mask } else { 0 },
            sample_rate: count((*par).sample_rate),
            block_align: count((*par).block_align),
            frame_size: count((*par).frame_size),
            initial_padding: count((*par).initial_padding),
            trailing_padding: count((*par).trailing_padding),
            seek_preroll: count((*par).seek_preroll),
            ..CodecParameters::default()
        })
    }
}

/// Makes `AVCodecParameters` for a muxer or decoder; `UnknownCodec` and `UnknownFormat` when this ffmpeg lacks them.
pub(crate) fn build_parameters(from: &CodecParameters) -> Result<codec::Parameters, ParametersError> {
    let mut parameters = codec::Parameters::new();
    parameters.set_medium(match from.medium {
        Medium::Video => ffmpeg_next::media::Type::Video,
        Medium::Audio => ffmpeg_next::media::Type::Audio,
        Medium::Subtitle => ffmpeg_next::media::Type::Subtitle,
    });
    parameters.set_bit_rate(from.bit_rate);
    let format = format_number(from)?;
    let unknown = || ParametersError::UnknownCodec(from.codec.clone());
    let name = c_string(&from.codec).map_err(|_| unknown())?;
    // SAFETY: `parameters` is owned and valid. Every number was held to its range by `CodecParameters`; enumerations
    // are written as the integers that C takes them for. `extradata` is allocated by ffmpeg with its zeroed padding and
    // is freed with the parameters.
    unsafe {
        let descriptor = ffi::avcodec_descriptor_get_by_name(name.as_ptr());
        if descriptor.is_null() {
            return Err(unknown());
        }
        let par = parameters.as_mut_ptr();
        (*par).codec_id = (*descriptor).id;
        (*par).codec_tag = from.tag;
        if !from.extradata.is_empty() {
            let size = from.extradata.len();
            let copy = ffi::av_mallocz(size + ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize).cast::<u8>();
            if copy.is_null() {
                return Err(ParametersError::ExtradataTooLong(size));
            }
            ptr::copy_nonoverlapping(from.extradata.as_ptr(), copy, size);
            (*par).extradata = copy;
            (*par).extradata_size = size as c_int;
        }
        (*par).format = format;
        (*par).bits_per_coded_sample = c_int::from(from.bits_per_coded_sample);
        (*par).bits_per_raw_sample = c_int::from(from.bits_per_raw_sample);
        (*par).profile = from.profile;
        (*par).level = from.level;
        (*par).width = c_int::from(from.width);
        (*par).height = c_int::from(from.height);
        (*par).sample_aspect_ratio = rational(from.sample_aspect_ratio);
        (&raw mut (*par).field_order).cast::<c_int>().write(from.field_order.into());
        (&raw mut (*par).color_range).cast::<c_int>().write(from.color_range.into());
        (&raw mut (*par).color_primaries).cast::<c_int>().write(from.color_primaries.into());
        (&raw mut (*par).color_trc).cast::<c_int>().write(from.color_transfer.into());
        (&raw mut (*par).color_space).cast::<c_int>().write(from.color_space.into());
        (&raw mut (*par).chroma_location).cast::<c_int>().write(from.chroma_location.into());
        (*par).video_delay = c_int::from(from.video_delay);
        if from.channel_mask == 0 {
            ffi::av_channel_layout_default(&raw mut (*par).ch_layout, c_int::from(from.channels));
        } else {
            ffi::av_channel_layout_from_mask(&raw mut (*par).ch_layout, from.channel_mask);
        }
        (*par).sample_rate = from.sample_rate as c_int;
        (*par).block_align = from.block_align as c_int;
        (*par).frame_size = from.frame_size as c_int;
        (*par).initial_padding = from.initial_padding as c_int;
        (*par).trailing_padding = from.trailing_padding as c_int;
        (*par).seek_preroll = from.seek_preroll as c_int;
    }
    Ok(parameters)
}

/// Reads the container's width over height of one pixel.
pub(crate) fn sample_aspect_ratio(stream: &ffmpeg_next::Stream<'_>) -> (u32, u32) {
    // SAFETY: the stream is valid and only read.
    let found = unsafe { (*stream.as_ptr()).sample_aspect_ratio };
    ratio(found.num, found.den)
}

/// Reads the matrix that turns or mirrors a stream's picture.
pub(crate) fn display_matrix(stream: &ffmpeg_next::Stream<'_>) -> Option<[i32; 9]> {
    let kind = codec::packet::side_data::Type::DisplayMatrix;
    let side_data = stream.side_data().find(|side_data| side_data.kind() == kind)?;
    let (values, rest) = side_data.data().as_chunks::<4>();
    let mut matrix = [0; 9];
    if values.len() != matrix.len() || !rest.is_empty() {
        return None;
    }
    for (to, from) in matrix.iter_mut().zip(values) {
        *to = i32::from_ne_bytes(*from);
    }
    Some(matrix)
}

/// Returns whether a container can hold a codec: none when its muxer does not tell.
pub(crate) fn holds(output: &format::context::Output, parameters: &codec::Parameters) -> Option<bool> {
    // SAFETY: both pointers are valid for the call, which only reads.
    let answer = unsafe {
        let muxer = (*output.as_ptr()).oformat;
        ffi::avformat_query_codec(muxer, (*parameters.as_ptr()).codec_id, ffi::FF_COMPLIANCE_NORMAL)
    };
    (answer >= 0).then_some(answer > 0)
}

/// Adds a stream to an output that has no header yet, as `ffmpeg -c copy` sets it up, and returns its index.
pub(crate) fn add_stream(
    output: &mut format::context::Output,
    parameters: &codec::Parameters,
    from: &CodecParameters,
    time_base: (i32, i32),
) -> Result<usize, Error> {
    // SAFETY: `output` and `parameters` are valid; the new stream belongs to `output`; tags are read from the muxer's
    // own tables; the matrix is allocated by ffmpeg, filled in its whole length and owned by the stream.
    unsafe {
        let context = output.as_mut_ptr();
        let stream = ffi::avformat_new_stream(context, ptr::null());
        if stream.is_null() {
            return Err(Error::Other { errno: ffmpeg_next::error::ENOMEM });
        }
        let copied = ffi::avcodec_parameters_copy((*stream).codecpar, parameters.as_ptr());
        if copied < 0 {
            return Err(Error::from(copied));
        }
        let (par, tags) = ((*stream).codecpar, (*(*context).oformat).codec_tag);
        let mut other = 0;
        // The tag is kept where it means the same codec in this container, or where the container has none of its own.
        let kept = tags.is_null()
            || ffi::av_codec_get_id(tags, (*par).codec_tag) == (*par).codec_id
            || ffi::av_codec_get_tag2(tags, (*par).codec_id, &raw mut other) == 0;
        if !kept {
            (*par).codec_tag = 0;
        }
        (*stream).time_base = ffi::AVRational { num: time_base.0, den: time_base.1 };
        (*stream).avg_frame_rate = rational(from.frame_rate);
        (*stream).sample_aspect_ratio = rational(from.sample_aspect_ratio);
        (*stream).disposition = from.disposition as c_int;
        if let Some(matrix) = from.display_matrix {
            let kind = ffi::AVPacketSideDataType::AV_PKT_DATA_DISPLAYMATRIX;
            let data = ffi::av_stream_new_side_data(stream, kind, size_of_val(&matrix));
            if !data.is_null() {
                ptr::copy_nonoverlapping(matrix.as_ptr().cast::<u8>(), data, size_of_val(&matrix));
            }
        }
        Ok((*stream).index as usize)
    }
}

/// Returns whether the muxer wants decoding times to rise, not just not to fall, within a stream.
pub(crate) fn dts_must_rise(output: &format::context::Output) -> bool {
    // SAFETY: the context and its muxer are valid and only read.
    unsafe { (*(*output.as_ptr()).oformat).flags & ffi::AVFMT_TS_NONSTRICT == 0 }
}

/// Lets the muxer insert the bitstream filters that it needs, which the fragmented MP4 muxer turns off when it begins,
/// although they work as long as its index is not written (`delay_moov`).
pub(crate) fn allow_filters(output: &mut format::context::Output) {
    // SAFETY: the context is valid; the flag is looked at with each stream's first packet.
    unsafe { (*output.as_mut_ptr()).flags |= ffi::AVFMT_FLAG_AUTO_BSF };
}

/// Returns whether the packet says that nothing refers to it.
pub(crate) fn is_disposable(packet: &Packet) -> bool {
    // SAFETY: the packet is valid and only read.
    unsafe { (*packet.as_ptr()).flags & ffi::AV_PKT_FLAG_DISPOSABLE != 0 }
}

/// A picture converter that may move to another thread.
pub(crate) struct Scaler(pub(crate) scaling::Context);

// SAFETY: `SwsContext` is owned by the wrapper alone and bound to no thread.
unsafe impl Send for Scaler {}

fn format_name(medium: Medium, format: c_int) -> String {
    // SAFETY: both enumerations are contiguous from -1 (none) to their last, which is checked; the names are static.
    unsafe {
        match medium {
            Medium::Video if (-1..ffi::AVPixelFormat::AV_PIX_FMT_NB as c_int).contains(&format) => {
                text(ffi::av_get_pix_fmt_name(std::mem::transmute::<c_int, ffi::AVPixelFormat>(format)))
            }
            Medium::Audio if (-1..ffi::AVSampleFormat::AV_SAMPLE_FMT_NB as c_int).contains(&format) => {
                text(ffi::av_get_sample_fmt_name(std::mem::transmute::<c_int, ffi::AVSampleFormat>(format)))
            }
            _ => String::new(),
        }
    }
}

fn format_number(from: &CodecParameters) -> Result<c_int, ParametersError> {
    if from.format.is_empty() {
        return Ok(-1);
    }
    let unknown = || ParametersError::UnknownFormat(from.format.clone());
    let name = c_string(&from.format).map_err(|_| unknown())?;
    // SAFETY: the name is terminated and only read.
    let number = unsafe {
        match from.medium {
            Medium::Video => ffi::av_get_pix_fmt(name.as_ptr()) as c_int,
            Medium::Audio => ffi::av_get_sample_fmt(name.as_ptr()) as c_int,
            Medium::Subtitle => -1,
        }
    };
    if number < 0 { Err(unknown()) } else { Ok(number) }
}

/// Copies a static C string of ffmpeg's; empty when there is none.
///
/// # Safety
/// `name` is null or points to a terminated string.
unsafe fn text(name: *const c_char) -> String {
    if name.is_null() {
        return String::new();
    }
    // SAFETY: promised by the caller.
    unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
}

fn c_string(text: &str) -> Result<CString, Error> {
    CString::new(text).map_err(|_| Error::Other { errno: ffmpeg_next::error::EINVAL })
}

/// Takes a ratio of ffmpeg's, whose unknown is zero.
fn ratio(numerator: c_int, denominator: c_int) -> (u32, u32) {
    match (u32::try_from(numerator), u32::try_from(denominator)) {
        (Ok(numerator), Ok(denominator)) if denominator > 0 => (numerator, denominator),
        _ => (0, 1),
    }
}

fn rational((numerator, denominator): (u32, u32)) -> ffi::AVRational {
    ffi::AVRational { num: numerator as c_int, den: denominator.max(1) as c_int }
}
